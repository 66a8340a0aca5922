"""tuspy, unmodified, against a running tus server:  python suite.py <endpoint-url>

The server must offer every extension of tus 1.0.0 and answer GET on an upload's URL.
"""

import asyncio
import base64
import hashlib
import io
import os

import requests
from harness import (
    MIB,
    VERSION,
    assert_equal,
    assert_stored,
    head,
    patch_in_progress,
    resume_once_something_is_kept,
    run,
    source,
)
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage
from tusclient.uploader import Uploader

LENGTH = 5 * MIB + 3


def one_chunk_arrives_whole(at):
    data = source(LENGTH, "one")
    uploader = at.client.uploader(file_stream=io.BytesIO(data))
    uploader.upload()
    assert_stored(uploader.url, data)


def chunks_arrive_whole(at):
    path, data = at.file("chunks.bin", LENGTH)
    uploader = at.client.uploader(path, chunk_size=MIB)
    offsets = []
    while uploader.offset < LENGTH:
        uploader.upload_chunk()
        offsets.append(uploader.offset)
    assert_equal(offsets, [MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB, LENGTH], "offsets told")
    assert_stored(uploader.url, data)


def zero_bytes_are_complete_at_creation(at):
    uploader = at.client.uploader(file_stream=io.BytesIO(b""))
    uploader.upload()
    headers = head(uploader.url)
    assert_equal(headers["Upload-Offset"], "0", "Upload-Offset")
    assert_equal(headers["Upload-Length"], "0", "Upload-Length")
    assert_stored(uploader.url, b"")


def fresh_uploader_resumes_from_the_url(at):
    path, data = at.file("resume.bin", LENGTH)
    first = at.client.uploader(path, chunk_size=MIB)
    first.upload(stop_at=2 * MIB)
    assert_equal(first.offset, 2 * MIB, "offset of the first uploader")

    second = Uploader(path, url=first.url, chunk_size=2 * MIB)
    assert_equal(second.offset, 2 * MIB, "offset of the fresh uploader")
    second.upload()
    assert_stored(second.url, data)


def half_sent_patch_keeps_its_bytes(at):
    path, data = at.file("half.bin", LENGTH)
    url = at.client.uploader(path).create_url()
    sent = 3 * MIB + 1
    with patch_in_progress(url, LENGTH) as connection:
        connection.sendall(data[:sent])

    fresh = resume_once_something_is_kept(path, url)
    assert 0 < fresh.offset <= sent, f"offset {fresh.offset} after {sent} bytes were sent"
    fresh.upload()
    assert_stored(url, data)


def silent_connection_does_not_block_a_resume(at):
    path, data = at.file("silent.bin", LENGTH)
    url = at.client.uploader(path).create_url()
    sent = 3 * MIB + 1
    with patch_in_progress(url, LENGTH) as connection:
        connection.sendall(data[:sent])
        fresh = resume_once_something_is_kept(path, url)
        assert 0 < fresh.offset <= sent, f"offset {fresh.offset} after {sent} bytes were sent"
        fresh.upload()
    assert_stored(url, data)


def right_checksums_are_accepted(at):
    path, data = at.file("checksum.bin", LENGTH)
    uploader = at.client.uploader(path, chunk_size=MIB, upload_checksum=True)
    uploader.upload()
    assert_stored(uploader.url, data)


def wrong_checksum_leaves_no_trace(at):
    path, data = at.file("mismatch.bin", LENGTH)
    uploader = at.client.uploader(path, chunk_size=MIB, upload_checksum=True)
    uploader.upload_chunk()

    # tuspy only sends right digests, so the wrong one goes as a header of the application's own.
    wrong = base64.b64encode(hashlib.sha1(b"something else").digest()).decode()
    liar = TusClient(at.endpoint, headers={"Upload-Checksum": f"sha1 {wrong}"})
    bad = liar.uploader(path, url=uploader.url, chunk_size=MIB)
    try:
        bad.upload_chunk()
    except TusUploadFailed as refused:
        assert_equal(refused.status_code, 460, "status of a wrong checksum")
    else:
        raise AssertionError("a wrong checksum was accepted")
    assert_equal(uploader.get_offset(), MIB, "offset after a wrong checksum")

    uploader.upload()
    assert_stored(uploader.url, data)


def metadata_comes_back_as_sent(at):
    metadata = {
        "filename": "Übergrößenträger – 日本語 🚀.tar.gz",
        "filetype": "application/gzip",
        "note": 'a, b; "c" \\ é \r\n\t',
    }
    data = source(1000, "metadata")
    uploader = at.client.uploader(file_stream=io.BytesIO(data), metadata=metadata)
    uploader.upload()
    assert_equal(
        head(uploader.url)["Upload-Metadata"],
        ",".join(uploader.encode_metadata()),
        "Upload-Metadata",
    )
    assert_stored(uploader.url, data)


def metadata_need_not_be_text(at):
    data = source(1000, "latin")
    uploader = at.client.uploader(
        file_stream=io.BytesIO(data),
        metadata={"filename": "Größe.bin"},
        metadata_encoding="latin-1",
    )
    uploader.upload()
    expected = "filename " + base64.b64encode("Größe.bin".encode("latin-1")).decode()
    assert_equal(head(uploader.url)["Upload-Metadata"], expected, "Upload-Metadata")
    assert_stored(uploader.url, data)


def async_uploader_arrives_whole(at):
    path, data = at.file("async.bin", LENGTH)
    uploader = at.client.async_uploader(path, chunk_size=MIB, upload_checksum=True)
    asyncio.run(uploader.upload())
    assert_stored(uploader.url, data)


def async_uploaders_stay_apart(at):
    files = [at.file(f"async-{n}.bin", LENGTH) for n in range(4)]
    uploaders = [at.client.async_uploader(path, chunk_size=MIB) for path, _ in files]

    async def all_at_once():
        await asyncio.gather(*(uploader.upload() for uploader in uploaders))

    asyncio.run(all_at_once())
    assert_equal(len({uploader.url for uploader in uploaders}), len(files), "distinct URLs")
    for uploader, (_, data) in zip(uploaders, files):
        assert_stored(uploader.url, data)


def stored_url_is_found_and_resumed(at):
    path, data = at.file("storage.bin", LENGTH)
    database = os.path.join(at.directory, "storage.json")

    storage = FileStorage(database)
    first = at.client.uploader(path, chunk_size=MIB, store_url=True, url_storage=storage)
    first.upload(stop_at=3 * MIB)
    storage.close()

    storage = FileStorage(database)
    second = at.client.uploader(path, chunk_size=MIB, store_url=True, url_storage=storage)
    assert_equal(second.url, first.url, "URL from the storage")
    assert_equal(second.offset, 3 * MIB, "offset of the resumed upload")
    second.upload()
    storage.close()
    assert_stored(second.url, data)


def terminated_upload_cannot_be_resumed(at):
    path, _ = at.file("terminated.bin", LENGTH)
    uploader = at.client.uploader(path, chunk_size=MIB)
    uploader.upload_chunk()
    answer = requests.delete(uploader.url, headers=VERSION)
    assert_equal(answer.status_code, 204, "status of DELETE")
    try:
        Uploader(path, url=uploader.url)
    except TusCommunicationError as refused:
        assert refused.status_code in (404, 410), f"HEAD answered {refused.status_code}"
    else:
        raise AssertionError("a terminated upload was resumed")


SCENARIOS = [
    one_chunk_arrives_whole,
    chunks_arrive_whole,
    zero_bytes_are_complete_at_creation,
    fresh_uploader_resumes_from_the_url,
    half_sent_patch_keeps_its_bytes,
    silent_connection_does_not_block_a_resume,
    right_checksums_are_accepted,
    wrong_checksum_leaves_no_trace,
    metadata_comes_back_as_sent,
    metadata_need_not_be_text,
    async_uploader_arrives_whole,
    async_uploaders_stay_apart,
    stored_url_is_found_and_resumed,
    terminated_upload_cannot_be_resumed,
]

if __name__ == "__main__":
    run(SCENARIOS)
