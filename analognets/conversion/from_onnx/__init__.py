"""Importing ONNX networks: their operators become Keras layers with channels last, which can be made analog."""

from analognets.conversion.from_onnx.load import load_onnx

__all__ = ["load_onnx"]
