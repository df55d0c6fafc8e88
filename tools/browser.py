"""Find Chromium and its driver for the browser tests; on Debian install them.

Run by ``make test``. CHROMIUM and CHROMEDRIVER name others than those on the PATH.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
DRIVERS = ("chromedriver", "/usr/lib/chromium-browser/chromedriver")

HELP = """
The browser tests need Chromium (or Chrome) and a ChromeDriver of the same version; missing: {missing}.

  Debian          apt-get install chromium chromium-driver
  Fedora          dnf install chromium chromedriver
  Arch            pacman -S chromium
  macOS           brew install --cask google-chrome chromedriver
  Ubuntu, others  npx @puppeteer/browsers install chrome@stable
                  npx @puppeteer/browsers install chromedriver@stable

Anywhere else than on the PATH? Say where: CHROMIUM=/path/to/chrome CHROMEDRIVER=/path/to/chromedriver make test
All other tests run without a browser: make check
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Where the browser and its driver are; None for what is not there."""

    browser: str | None
    driver: str | None

    @property
    def missing(self) -> list[str]:
        """Name what is not there."""
        return [name for name, path in (("Chromium", self.browser), ("ChromeDriver", self.driver)) if path is None]


def find() -> Installed:
    """Look in CHROMIUM and CHROMEDRIVER, then on the PATH."""
    return Installed(
        browser=_first(os.environ.get("CHROMIUM"), *BROWSERS, *MAC_BROWSERS),
        driver=_first(os.environ.get("CHROMEDRIVER"), *DRIVERS),
    )


def _first(named: str | None, *usual: str) -> str | None:
    # A name that was given and is wrong must not be passed over: the tests would run in another browser.
    names = [named] if named else usual
    return next(filter(None, map(shutil.which, names)), None)


def install() -> None:
    """Install both from Debian's packages, if this is a Debian and we may."""
    become = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--option=DPkg::Lock::Timeout=300", "--quiet"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "chromium-driver"]):
        subprocess.run([*apt, *command], check=True, stdin=subprocess.DEVNULL)


def installable() -> bool:
    """Tell whether the distribution has Chromium as a package, we may install one, and no other one was named."""
    named = {"CHROMIUM", "CHROMEDRIVER"} & os.environ.keys()
    return not named and _is_debian() and (os.geteuid() == 0 or _has_sudo())


def _is_debian() -> bool:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    # Ubuntu's package of that name is a snap, which ChromeDriver cannot start.
    return release["ID"] != "ubuntu" and "debian" in (release["ID"], *release.get("ID_LIKE", "").split())


def _has_sudo() -> bool:
    return shutil.which("sudo") is not None and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0


def main() -> None:
    """Make sure that the browser tests can start, or say what to do."""
    if find().missing and installable():
        try:
            install()
        except subprocess.CalledProcessError as error:
            print(f"browser: {error}", file=sys.stderr)
    if missing := find().missing:
        sys.exit(HELP.format(missing=" and ".join(missing)))


if __name__ == "__main__":
    main()
