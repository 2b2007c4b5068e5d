"""The servers of the rows `tls-*`, ours first: how each is started with a plain and a mutual port."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

from bench.processes import child, module, python_environment
from bench.programs import c_program, environment, need_modules, program, script
from bench.tls import GROUP, Place, Start

Processes = list["subprocess.Popen[bytes]"]
LARGE = 16384
FOREVER_S = 3600


def python_server(kind: str) -> Start:
    """Return what starts a server of peers/tls_servers.py."""

    def start(place: Place, stack: ExitStack) -> Processes:
        if kind == "uvloop":
            need_modules("uvloop")
        files = place.files
        argv = module(
            "bench.peers.tls_servers", kind, str(files.certificate), str(files.key), str(place.port),
            str(place.mutual_port), str(files.certificate),
        )  # fmt: skip
        return [stack.enter_context(child(argv, errors=place.errors, env=python_environment()))]

    return start


def start_floor(place: Place, stack: ExitStack) -> Processes:
    floor, files = str(c_program("tls_floor")), place.files
    shared = [str(files.certificate), str(files.key)]
    return [
        stack.enter_context(child([floor, "tls", *arguments], errors=place.errors))
        for arguments in ([str(place.port), *shared], [str(place.mutual_port), *shared, str(files.certificate)])
    ]


def start_nginx(place: Place, stack: ExitStack) -> Processes:
    """One process; 64 bytes by `return`, 16 KiB from a file, since `return` cannot hold so much."""
    folder, files = place.folder, place.files
    (folder / "www").mkdir()
    (folder / "www" / str(LARGE)).write_text("x" * LARGE)
    shared = (
        f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key}; ssl_protocols TLSv1.3; "
        f"ssl_ecdh_curve {GROUP}; "
        f'location = /64 {{ return 200 "{"x" * 64}"; }} location / {{ root {folder}/www; }}'
    )
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;\n"
        "worker_rlimit_nofile 8192; events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; keepalive_timeout {FOREVER_S}; tcp_nodelay on;\n"
        f"sendfile on; open_file_cache max=10; default_type text/plain; {temporary}\n"
        f"server {{ listen 127.0.0.1:{place.port} ssl backlog=1024; {shared} }}\n"
        f"server {{ listen 127.0.0.1:{place.mutual_port} ssl backlog=1024; ssl_verify_client on; "
        f"ssl_client_certificate {files.certificate}; {shared} }} }}\n"
    )
    argv = [str(program("nginx")), "-p", str(folder), "-e", str(folder / "errors"), "-c", str(config)]
    return [stack.enter_context(child(argv, errors=place.errors, env=environment()))]


def start_s_server(place: Place, stack: ExitStack) -> Processes:
    """OpenSSL's own server: one connection at a time, and one page a connection; so it is for handshakes only."""
    files = place.files
    shared = [
        "s_server", "-www", "-quiet", "-tls1_3", "-groups", GROUP, "-num_tickets", "0", "-cert", str(files.certificate),
        "-key", str(files.key),
    ]  # fmt: skip
    openssl = str(program("openssl"))
    return [
        stack.enter_context(child([openssl, *shared, "-accept", f"127.0.0.1:{port}", *more], errors=place.errors))
        for port, more in (
            (place.port, []),
            (place.mutual_port, ["-Verify", "1", "-verify_return_error", "-CAfile", str(files.certificate)]),
        )
    ]


def start_haproxy(place: Place, stack: ExitStack) -> Processes:
    """One thread; it answers by itself with `http-request return`."""
    folder, files = place.folder, place.files
    (folder / "large").write_text("x" * LARGE)
    bind = f"ssl crt {files.both} ssl-min-ver TLSv1.3 curves {GROUP} alpn http/1.1 backlog 1024"
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n nbthread 1\n maxconn 4000\n tune.bufsize 32768\n"
        f"defaults\n mode http\n timeout client {FOREVER_S}s\n timeout server {FOREVER_S}s\n timeout connect 5s\n"
        f" timeout http-keep-alive {FOREVER_S}s\n"
        f"frontend plain\n bind 127.0.0.1:{place.port} {bind}\n"
        f" bind 127.0.0.1:{place.mutual_port} {bind} verify required ca-file {files.certificate}\n"
        f" http-request return status 200 content-type text/plain file {folder}/large if {{ path /{LARGE} }}\n"
        f" http-request return status 200 content-type text/plain string {'x' * 64}\n"
    )
    argv = [str(program("haproxy")), "-db", "-f", str(config)]
    return [stack.enter_context(child(argv, errors=place.errors, env=environment()))]


def start_stunnel(place: Place, stack: ExitStack) -> Processes:
    """A terminator in front of the plain C server, whose CPU counts too: somebody must answer."""
    folder, files = place.folder, place.files
    shared = f"connect = {folder}/plain\ncert = {files.certificate}\nkey = {files.key}\nsslVersionMin = TLSv1.3\n"
    shared += f"curves = {GROUP}\nTIMEOUTidle = {FOREVER_S}\n"
    config = folder / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
        f"[plain]\naccept = 127.0.0.1:{place.port}\n{shared}"
        f"[mutual]\naccept = 127.0.0.1:{place.mutual_port}\n{shared}verifyChain = yes\nCAfile = {files.certificate}\n"
    )
    stunnel = str(program("stunnel4"))
    behind = stack.enter_context(child([str(c_program("tls_floor")), "plain", f"{folder}/plain"], errors=place.errors))
    return [behind, stack.enter_context(child([stunnel, str(config)], errors=place.errors, env=environment()))]


def uvicorn_command(*arguments: str) -> list[str]:
    """Return uvicorn at its fastest: uvloop, httptools, no access log."""
    return [
        str(script("uvicorn")), "--log-level", "error", "--no-access-log", "--loop", "uvloop", "--http", "httptools",
        "--timeout-keep-alive", str(FOREVER_S), "--backlog", "1024", *arguments, "bench.peers.http_app:app",
    ]  # fmt: skip


def start_uvicorn(place: Place, stack: ExitStack) -> Processes:
    need_modules("uvicorn", "uvloop", "httptools")
    files = place.files
    processes: Processes = []
    for port, extra in (
        (place.port, []),
        (place.mutual_port, ["--ssl-cert-reqs", "2", "--ssl-ca-certs", str(files.certificate)]),
    ):
        argv = uvicorn_command(
            "--host", "127.0.0.1", "--port", str(port), "--ssl-certfile", str(files.certificate),
            "--ssl-keyfile", str(files.key), *extra,
        )  # fmt: skip
        processes.append(stack.enter_context(child(argv, errors=place.errors, env=python_environment())))
    return processes
