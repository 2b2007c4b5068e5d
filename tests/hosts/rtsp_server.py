"""A real RTSP server, that of GStreamer, on loopback: a moving picture with a clock, behind a login if one is given.

Run by the Python of the system, whose package python3-gi it takes: rtsp_server.py PORT [USER PASSWORD]
"""

# mypy: ignore-errors
from __future__ import annotations

import sys

import gi

for name, version in (("Gst", "1.0"), ("GstRtsp", "1.0"), ("GstRtspServer", "1.0")):
    gi.require_version(name, version)
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = (
    "( videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=180,framerate=15/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)


def main(port: str, *login: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PICTURE)
    factory.set_shared(True)
    if login:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest(*login, token)
        server.set_auth(auth)
        rights = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            rights.add_permission_for_role("user", right, True)
        factory.set_permissions(rights)
    server.get_mount_points().add_factory("/door", factory)
    if not server.attach(None):
        sys.exit(f"cannot listen at port {port}")
    print("ready", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
