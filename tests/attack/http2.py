"""A peer of HTTP/2 that does what no library would: it grants no window, and opens streams that it does not finish.

Frames as bytes, by RFC 9113 and 7541; what it does not need of them it ignores.
"""

import socket
import struct
from urllib.parse import urlsplit

DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
MAX_STREAMS, INITIAL_WINDOW = 3, 4
FRAME_BYTES = 16_384
DEFAULT_WINDOW = 65_535


class Peer:
    def __init__(self, url, window=DEFAULT_WINDOW):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self.is_open, self.rest, self.unsent = True, b"", b""
        # What the other end allows, until it says something else.
        self.streams, self.window, self.stream_window, self.received = 1 << 31, DEFAULT_WINDOW, DEFAULT_WINDOW, 0
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window))

    def request(self, stream, method, path, content_type=None, ends=True):
        head = bytes([{"GET": 0x82, "POST": 0x83}[method], 0x86, 0x04, len(path)]) + path.encode() + b"\x01\x09127.0.0.1"
        if content_type:
            head += b"\x0f\x10" + bytes([len(content_type)]) + content_type.encode()
        self.frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, head)

    def data(self, stream, content):
        """As much of it as the other end allows; its length."""
        content = content[:max(0, min(self.window, FRAME_BYTES))]
        if content:
            self.window -= len(content)
            self.frame(DATA, 0, stream, content)
        return len(content)

    def frame(self, kind, flags, stream, payload):
        self.send(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def send(self, content):
        self.unsent += content
        self.socket.setblocking(False)
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False

    def pump(self):
        """Takes what came, and answers what keeps the connection open."""
        self.send(b"")
        try:
            while content := self.socket.recv(1 << 16):
                self.rest += content
            self.is_open = False
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False
        while len(self.rest) >= 9 and len(self.rest) >= (end := 9 + int.from_bytes(self.rest[:3], "big")):
            kind, flags, stream = self.rest[3], self.rest[4], int.from_bytes(self.rest[5:9], "big")
            payload = self.rest[9:end]
            self.rest = self.rest[end:]
            if kind == SETTINGS and not flags & ACK:
                for at in range(0, len(payload), 6):
                    name, value = struct.unpack(">HI", payload[at:at + 6])
                    if name == MAX_STREAMS:
                        self.streams = value
                    if name == INITIAL_WINDOW:
                        self.stream_window = value
                self.frame(SETTINGS, ACK, 0, b"")
            elif kind == WINDOW_UPDATE and stream == 0:
                self.window += int.from_bytes(payload, "big")
            elif kind == PING and not flags & ACK:
                self.frame(PING, ACK, 0, payload)
            elif kind == DATA:
                self.received += len(payload)
