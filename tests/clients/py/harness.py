"""What every scenario needs: files, a broken PATCH, a look at the stored result, and the runner."""

import argparse
import os
import random
import socket
import sys
import tempfile
import threading
import time
import traceback
from urllib.parse import urlsplit

import requests
from tusclient.client import TusClient
from tusclient.uploader import Uploader

MIB = 1024 * 1024
VERSION = {"Tus-Resumable": "1.0.0"}


class At:
    """Where a scenario works: the endpoint, a client for it, a directory of its own."""

    def __init__(self, endpoint, directory):
        self.endpoint = endpoint
        self.directory = directory
        self.client = TusClient(endpoint)

    def file(self, name, length):
        path = os.path.join(self.directory, name)
        data = source(length, name)
        with open(path, "wb") as out:
            out.write(data)
        return path, data


def source(length, seed):
    """Bytes that differ for each seed and do not repeat."""
    return random.Random(seed).randbytes(length)


def patch_in_progress(url, length):
    """A connection on which the server has begun to read the body of a PATCH at offset 0."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port or 80), timeout=30)
    connection.sendall(
        (
            f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTus-Resumable: 1.0.0\r\n"
            "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
            f"Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        ).encode()
    )
    interim = b""
    while b"\r\n\r\n" not in interim:
        received = connection.recv(4096)
        assert received, f"the connection was closed after {interim!r}"
        interim += received
    assert interim.startswith(b"HTTP/1.1 100 "), f"expected 100 Continue, got {interim!r}"
    return connection


def resume_once_something_is_kept(path, url):
    """Asks as tuspy does until bytes of the broken request are stored, ten seconds at most."""
    give_up = time.monotonic() + 10
    while True:
        fresh = Uploader(path, url=url, chunk_size=MIB)
        if fresh.offset > 0:
            return fresh
        assert time.monotonic() < give_up, "the server kept nothing of the broken request"
        time.sleep(0.01)


def head(url):
    answer = requests.head(url, headers=VERSION)
    assert answer.status_code in (200, 204), f"HEAD {url} answered {answer.status_code}"
    return answer.headers


def assert_stored(url, data):
    answer = requests.get(url)
    assert_equal(answer.status_code, 200, f"status of GET {url}")
    assert_equal(len(answer.content), len(data), "length of the stored bytes")
    if answer.content != data:
        at = next(i for i, (a, b) in enumerate(zip(answer.content, data)) if a != b)
        raise AssertionError(f"stored bytes differ from the source at {at}")


def assert_equal(got, expected, what):
    assert got == expected, f"{what}: {got!r}, expected {expected!r}"


def run(scenarios):
    """Runs the scenarios that the command line names, and prints a line for each."""
    names = [scenario.__name__ for scenario in scenarios]
    parser = argparse.ArgumentParser(description="Drives a tus server with tuspy, unmodified.")
    parser.add_argument("endpoint", nargs="?")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME")
    parser.add_argument("--except", action="append", choices=names, metavar="NAME", dest="skip")
    parser.add_argument("--deadline", type=float, default=180, help="seconds for all scenarios")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names))
        return
    if options.endpoint is None:
        parser.error("the endpoint URL is missing")

    current = None

    def too_late():
        print(f"not ok {current}: the deadline has passed", file=sys.stderr, flush=True)
        os._exit(1)

    watch = threading.Timer(options.deadline, too_late)
    watch.daemon = True
    watch.start()
    with tempfile.TemporaryDirectory(prefix="tus-py-") as directory:
        for scenario in scenarios:
            current = scenario.__name__
            if options.only and current not in options.only:
                continue
            if options.skip and current in options.skip:
                continue
            try:
                scenario(At(options.endpoint, directory))
            except Exception as error:
                print(f"not ok {current}: {error}", file=sys.stderr)
                traceback.print_exc()
                sys.exit(1)
            print(f"ok {current}", flush=True)
