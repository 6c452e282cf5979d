"""TLS before a plain server: `tls.py PORT FOLDER` says where it listens, and writes who vouches for it to `ca.pem`."""

import asyncio
import pathlib
import ssl
import sys

import trustme

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "ca.pem")
trustme.CA().cert_pem.write_to_path(folder / "other.pem")
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("localhost").configure_cert(context)


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the other side has gone
    writer.close()


async def relay(reader, writer):
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))


async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    # As xtask reads it of any server.
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
