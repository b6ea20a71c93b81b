"""Files for microcontrollers: int8 LiteRT, quantisation-aware training, C++ for TFLM."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "detector_text",
        "litert",
        "litert_file",
        "litert_runtime",
        "pointwise",
        "qat",
        "qat_graph",
        "tflm",
        "tflm_runtime",
    ),
)
