"""The lab page: an ageing chip in the browser, from a local server or as files of a web site.

Everything loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "description": ["describe"],
        "files": ["page_file", "page_files", "page_presets", "write_page"],
        "int8_scales": ["int8_scales"],
        "server": ["LabServer"],
    },
)
