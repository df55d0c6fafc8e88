// A classic script, because it has to run where modules do not: on a page opened by double click,
// and on one whose vendor/ folder was never made.
(() => {
  "use strict";

  const explain = (id) => {
    for (const each of ["boot", "sign-in-view"]) document.getElementById(each).hidden = true;
    document.getElementById(id).hidden = false;
  };
  const whenRead = (act) => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", act);
    else act();
  };

  if (location.protocol === "file:") {
    whenRead(() => explain("opened-as-file"));
    return;
  }
  const onError = ({ target }) => {
    if (target instanceof HTMLScriptElement && target.type === "module") whenRead(() => explain("nothing-installed"));
  };
  addEventListener("error", onError, true); // errors of elements do not bubble
})();
