"""What a camera is: where its pictures come from, how large and how many they are, and how ffmpeg is told. Pure.

A URL with its login goes to ffmpeg's standard input, as a script of its demuxer `concat`: other processes can read
arguments.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Annotated, Literal
from urllib.parse import quote

from tlsrt import Length, Range
from tlsrt.loops.third.frame_stream import FrameStream, MultipartFrames, RawFrames

FRAME_BYTES = 8 << 20  # the largest frame: a raw one of 1920 x 1080 has 6.2 MB
_URL = re.compile(r"rtsp://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?(?:/[!-&(-.0-?A-\[\]-~/@]*)?")
_PATH = re.compile(r"(?:/[^/\x00-\x1f\x7f]+)+")
_PIXEL_BYTES = {"rgb24": 3, "gray": 1}
_GIVEN = {"yuyv": ("yuyv422", 2), "uyvy": ("uyvy422", 2), "nv12": ("nv12", 1.5), "grey": ("gray", 1)}  # of V4L2
_HTTP_REFUSED = 8  # the low byte of ffmpeg's errors for answers of 400 to 599
_INVALID_DATA = 183
_REASONS = {
    _HTTP_REFUSED: "the server refuses it: look at its address, and at the secret that `login` names",
    _INVALID_DATA: "it sends nothing that ffmpeg can read",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """A camera: one of `rtsp`, `file`, `device` and `pattern`, and how its frames are."""

    rtsp: Annotated[str, Length(1024)] = ""  # rtsp://HOST[:PORT]/PATH, without a login
    login: str = ""  # the name of a secret, USER:PASSWORD, for `rtsp`
    file: Annotated[str, Length(1024)] = ""  # a film, shown again and again
    device: str = ""  # the name of a granted device that gives JPEG pictures, one after the other
    pixels: Literal["", "yuyv", "uyvy", "nv12", "grey"] = ""  # it gives raw pictures of width and height instead
    pattern: bool = False  # a moving test picture
    width: Annotated[int, Range(16, 1920)] = 640
    height: Annotated[int, Range(16, 1080)] = 360
    fps: Annotated[int, Range(1, 30)] = 5
    format: Literal["jpeg", "rgb24", "gray"] = "jpeg"
    quality: Annotated[int, Range(2, 31)] = 5  # of JPEG; 2 is the best one
    idle_s: Annotated[float, Range(0, 3600)] = 5.0  # how long it goes on without a reader
    stall_s: Annotated[float, Range(0.2, 60)] = 10.0  # without a whole frame; twice as long for the first one
    readers: Annotated[tuple[str, ...], Length(64)] = ("*",)  # of those whom policy lets call

    @property
    def problem(self) -> str:
        """Return what of it does not go together; empty if all does."""
        named = [key for key in ("rtsp", "file", "device", "pattern") if getattr(self, key)]
        if len(named) != 1:
            return f"say one of rtsp, file, device and pattern, not {' and '.join(named) or 'none'}"
        if self.rtsp and not _URL.fullmatch(self.rtsp):
            return "rtsp: write rtsp://HOST[:PORT]/PATH, with the login as a secret that `login` names"
        if self.login and not self.rtsp:
            return "login is for rtsp: remove it"
        if self.pixels and not self.device:
            return "pixels is for device: remove it"
        if self.pixels and (self.width % 2 or self.height % 2):
            return "pixels: width and height are even numbers"
        if self.file and (not _PATH.fullmatch(self.file) or ".." in self.file.split("/")):
            return "file: write an absolute path, such as /srv/films/door.mkv"
        return ""

    @property
    def kind(self) -> str:
        """Return where its pictures come from, in one word."""
        return next((key for key in ("rtsp", "file", "device") if getattr(self, key)), "pattern")

    @property
    def given_bytes(self) -> int:
        """Return the size of a raw picture that its device gives; 0 if it gives none such."""
        return int(self.width * self.height * _GIVEN[self.pixels][1]) if self.pixels else 0

    def stream(self) -> FrameStream:
        """Return what cuts the output of its program into frames."""
        if self.format == "jpeg":
            return MultipartFrames(FRAME_BYTES)
        return RawFrames(self.width * self.height * _PIXEL_BYTES[self.format])

    def arguments(self) -> list[str]:
        """Return the arguments of ffmpeg, which fit the forms of the manifest."""
        fitted = f"{self.width}:{self.height}"
        picture = f"fps={self.fps},scale={fitted}:force_original_aspect_ratio=decrease,pad={fitted}:-1:-1"
        # what inner parts say at other levels has the URL in it, and so the login
        begin = ["-hide_banner", "-nostdin", "-loglevel", "quiet" if self.rtsp else "fatal"]
        if self.pattern:
            given = ["-re", "-f", "lavfi", "-i", f"testsrc2=size={self.width}x{self.height}:rate={self.fps}"]
        elif self.device:
            # neither kind says when a picture was taken, and at 25 a second a slow camera would lose most of them
            kind = ["mjpeg"]
            if self.pixels:
                size = f"{self.width}x{self.height}"
                kind = ["rawvideo", "-pixel_format", _GIVEN[self.pixels][0], "-video_size", size]
            live = ["-protocol_whitelist", "pipe", "-use_wallclock_as_timestamps", "1", "-f", *kind]
            given = [*live, "-i", "pipe:0"]
        else:
            network = ["-protocol_whitelist", "pipe,rtsp,rtp,tcp"]
            film = ["-protocol_whitelist", "pipe,file", "-re", "-stream_loop", "-1"]
            given = [*(network if self.rtsp else film), "-f", "concat", "-safe", "0", "-i", "pipe:0"]
        made = (
            ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", str(self.quality), "-f", "mpjpeg"]
            if self.format == "jpeg"
            else ["-c:v", "rawvideo", "-pix_fmt", self.format, "-f", "rawvideo"]
        )
        return [*begin, *given, "-an", "-sn", "-dn", "-map", "0:v:0", "-filter:v", picture, *made, "pipe:1"]

    def script(self, login: str = "") -> bytes:
        """Return what ffmpeg reads from its standard input, of `rtsp` and `file`; `login` as `checked_login` has it."""
        if self.file:
            return f"ffconcat version 1.0\nfile {_quoted(f'file:{self.file}')}\n".encode()
        url = self.rtsp
        if login:
            url = url.replace("://", f"://{login}@", 1)
        lines = [f"file {_quoted(url)}", "option rtsp_transport tcp", "option timeout 10000000", ""]
        return "\n".join(["ffconcat version 1.0", *lines]).encode()


def checked_login(login: str) -> str:
    """Return USER:PASSWORD as a URL has it. Raises ValueError for what is none, or holds a control character."""
    user, colon, password = login.removesuffix("\n").partition(":")
    if not user or not colon or any(ord(one) < 32 or ord(one) == 127 for one in login.removesuffix("\n")):
        raise ValueError("it is not USER:PASSWORD in one line")
    return f"{quote(user, safe='')}:{quote(password, safe='')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def reason_of(status: int) -> str:
    """Return what an exit status of ffmpeg says, which is the low byte of its error (from version 6 on)."""
    if status in _REASONS:
        return _REASONS[status]
    if status > 128 and (text := os.strerror(256 - status)) and not text.startswith("Unknown"):
        return text
    return "its pictures have ended" if status == 0 else f"ffmpeg ended with status {status}"
