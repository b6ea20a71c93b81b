"""One neutral folder that any simulator of analog chips can run, and the rule behind each difference it shows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ("bundle", "law", "run_peer", "runners", "verdict"),
    submod_attrs={
        "bundle": ["Bundle", "open_bundle", "write_bundle"],
        "law": ["Law", "Rules"],
        "runners": ["TOOLS", "ReferenceRunner", "observe"],
        "verdict": ["Verdict", "judge"],
    },
)
