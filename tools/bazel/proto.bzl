"""C++ from .proto files, by the system's protoc and its gRPC plugin."""

def cc_grpc_library(name, srcs, imports = [], deps = [], grpc = False, **kwargs):
    """A cc_library of the generated code of `srcs`.

    Args:
      name: the library.
      srcs: .proto files of this package.
      imports: .proto files that srcs import, as labels.
      deps: libraries of the imported files.
      grpc: whether srcs define services.
      **kwargs: passed on to the cc_library.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    endings = ["pb"] + (["grpc.pb"] if grpc else [])
    heads = [s + "." + e + ".h" for s in stems for e in endings]
    bodies = [s + "." + e + ".cc" for s in stems for e in endings]
    plugin = "--grpc_out=$(GENDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin" if grpc else ""
    native.genrule(
        name = name + "_gen",
        srcs = srcs + imports,
        outs = heads + bodies,
        cmd = "/usr/bin/protoc -I. -I/usr/include --cpp_out=$(GENDIR) %s %s" %
              (plugin, " ".join(["$(location %s)" % src for src in srcs])),
    )
    native.cc_library(
        name = name,
        srcs = bodies,
        hdrs = heads,
        copts = ["-Wno-unused-parameter"],
        deps = deps + ["//tools/bazel/system:protobuf"] + (["//tools/bazel/system:grpc"] if grpc else []),
        **kwargs
    )
