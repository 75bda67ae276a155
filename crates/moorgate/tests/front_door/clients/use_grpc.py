"""A gRPC server without TLS, and a client that reaches it through the gateway: unary, an error, and both streams.

Usage: use_grpc.py serve | use_grpc.py call ADDRESS NAME CA
"""

import sys
from concurrent import futures

import grpc


def same(data):
    return data


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        handlers = {
            "/echo/One": grpc.unary_unary_rpc_method_handler(one),
            "/echo/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/echo/Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: requests),
        }
        return handlers.get(call.method)


def one(request, context):
    context.set_trailing_metadata((("quota-left", "7"), ("set-cookie", "a=b")))
    return request


def fail(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()


def call(address, name, ca):
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    with grpc.secure_channel(address, credentials, options) as channel:
        said, ended = channel.unary_unary("/echo/One", same, same).with_call(b"ping" * 100_000, timeout=20)
        assert said == b"ping" * 100_000
        at_the_end = {entry.key: entry.value for entry in ended.trailing_metadata()}
        assert at_the_end.get("quota-left") == "7" and "set-cookie" not in at_the_end, at_the_end
        try:
            channel.unary_unary("/echo/Fail", same, same)(b"", timeout=20)
            raise AssertionError("it should have failed")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
            assert error.details() == "nothing here", error
        both = channel.stream_stream("/echo/Both", same, same)
        sent = [str(number).encode() for number in range(50)]
        assert list(both(iter(sent), timeout=20)) == sent
    print("ok")


if sys.argv[1] == "serve":
    serve()
else:
    call(*sys.argv[2:])
