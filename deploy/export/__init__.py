"""Files for microcontrollers (int8 LiteRT, C++ for TFLM) and for other tools: ONNX, aihwkit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "aihwkit",
        "detector_text",
        "litert",
        "litert_file",
        "litert_runtime",
        "onnx_file",
        "pointwise",
        "qat",
        "qat_graph",
        "tflm",
        "tflm_runtime",
    ),
)
