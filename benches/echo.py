"""A bare grpc.aio server that answers every unary call with as many bytes as it is told."""

import asyncio
import sys

import grpc
import grpc.aio


class Echo(grpc.GenericRpcHandler):
    """Any method, raw bytes."""

    def __init__(self, answer: bytes) -> None:
        async def answer_it(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
            return answer

        self._handler = grpc.unary_unary_rpc_method_handler(answer_it)

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handler


async def main(answer_bytes: int) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(bytes(answer_bytes)),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
