"""The page: what a person sees. It calls the session and shows what the session tells; it knows no tokens.

One module for each panel (``sign_in``, ``notes``, ``notices``, ``session_panel``, ``server_panel``, ``controls``,
``events_panel``, ``timeline``, ``tour``; the package ``scenarios``) and ``shell``, which decides what is shown when.
``note``, ``notebook``, ``drafts``, ``event_log``, ``lanes``, ``journal``, ``ledger`` and ``wording`` touch no document
and run, and are tested, anywhere.
"""
