"""Sources for nvcc."""

# Machine code for Ampere and Hopper, and PTX for what comes later.
_ARCHITECTURES = [
    "-gencode arch=compute_80,code=sm_80",
    "-gencode arch=compute_90,code=sm_90",
    "-gencode arch=compute_90,code=compute_90",
]

_FLAGS = [
    "-std=c++20",
    "-O3",
    "--expt-relaxed-constexpr",
    "--extended-lambda",
    "-Werror all-warnings",
    "-diag-suppress 554",  # a conversion of a view to itself is no conversion
    "-Xcompiler -Wall,-Wextra,-fPIC,-ffp-contract=off",
]

def cuda_objects(name, srcs, headers):
    """One object of each source, compiled by nvcc.

    Args:
      name: a file group of the objects, for the srcs of a cc_library.
      srcs: files ending in .cu.
      headers: labels of all headers of ours that they include.
    """
    objects = []
    for src in srcs:
        out = src.replace(".cu", ".cu.pic.o")
        native.genrule(
            name = name + "_" + src.replace(".cu", ""),
            srcs = [src] + headers,
            outs = [out],
            cmd = "/usr/local/cuda/bin/nvcc -c {flags} -I. $(location {src}) -o $@".format(
                flags = " ".join(_FLAGS + _ARCHITECTURES),
                src = src,
            ),
            tags = ["manual"],
            message = "Compiling for CUDA",
        )
        objects.append(out)
    native.filegroup(name = name, srcs = objects, tags = ["manual"])
