"""How the runtime of ONNX graphs is set up. Runs in workers only: every picture has a thread of its own."""

from onnxruntime import SessionOptions


def settings() -> SessionOptions:
    """One thread for each call, silent, and numbers too small to matter taken for zero.

    Half the weights of a layer of PP-OCRv6's detector are such numbers (below 1.2e-38), with which processors are so
    slow that this one layer took longer than all others together: a picture takes a third less time without. It is a
    flag of the processor that the first session of a process sets for its thread and for all threads started from it
    later (Intel 64 and IA-32 Architectures Software Developer's Manual 1, 11.6.3: denormals-are-zeros), so all
    sessions are made with these settings.
    """
    options = SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options
