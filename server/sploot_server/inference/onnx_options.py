"""ONNX Runtime session options. Used in worker processes only, where each thread processes an image of its own."""

from onnxruntime import SessionOptions


def session_options() -> SessionOptions:
    """Return options for one thread per call, without logging, with denormals treated as zero."""
    options = SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Half the weights of one layer of PP-OCRv6's detector are denormals (below 1.2e-38), on which processors are so
    # slow that this layer took longer than all others together. Treated as zeros, an image takes a third less time. The
    # setting is a processor flag (denormals-are-zeros: Intel 64 and IA-32 Architectures Software Developer's Manual 1,
    # 11.6.3). Only the first session of a process sets it, for its own thread and the threads started from it later, so
    # every session uses these options, whichever is the first.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options
