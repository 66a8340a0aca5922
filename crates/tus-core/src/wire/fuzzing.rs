//! What the fuzz targets reach of the wire. No part of the public API: it may change at any time.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};

use super::{
    Answer, BodyShape, Dialect, Head, Mount, Offer, dialect, disposition, fields,
    location::Forwarded, names, rufh, structured, trailers,
};
use crate::model::{
    Algorithm, Command, Completes, Content, CreateKind, Digest, Discovery, Extension, Metadata,
    Policy, Promise, RangeSpec, Refusal, UploadId, UploadLimits,
};

/// What a head was understood to say, in plain values.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The interop version, if it is said in RUFH; of the form without one there is none.
    pub rufh: Option<Option<u64>>,
    /// The method that counts.
    pub method: Method,
    /// The upload that it names.
    pub id: Option<UploadId>,
    /// `Upload-Offset`.
    pub at: Option<u64>,
    /// `Upload-Length`.
    pub length: Option<u64>,
    /// Whether the upload is to be complete with this request; `None` if its length decides.
    pub complete: Option<bool>,
    /// Whether a part is to be made.
    pub partial: bool,
    /// The parts of a final that is to be made.
    pub parts: Option<Vec<UploadId>>,
    /// The metadata of a creation.
    pub metadata: Option<Metadata>,
    /// Whether a body counts, and how many bytes it is to have.
    pub brings: Option<Option<u64>>,
    /// The digest that is promised in the head.
    pub digest: Option<Digest>,
    /// Whether one is promised in a trailer.
    pub trailer: bool,
    /// The range of a download: from and to, or the last so many bytes.
    pub range: Option<(Option<u64>, Option<u64>)>,
}

/// What stands around a request: the mount, the policy and the peer.
#[derive(Clone, Debug)]
pub struct Around<'a> {
    /// Where uploads live.
    pub mount: &'a str,
    /// What is allowed.
    pub policy: &'a Policy,
    /// Who is at the other end.
    pub peer: Option<IpAddr>,
    /// Whether all extensions are offered, or none.
    pub all: bool,
    /// Whether RUFH is spoken.
    pub rufh: bool,
}

impl Around<'_> {
    fn mount(&self, headers: &HeaderMap) -> Mount {
        Mount::new(self.mount, self.policy, headers, self.peer)
    }

    fn offer(&self) -> Offer {
        let extensions = vec![
            Extension::Creation,
            Extension::CreationWithUpload,
            Extension::CreationDeferLength,
            Extension::Expiration,
            Extension::Checksum,
            Extension::ChecksumTrailer,
            Extension::Termination,
            Extension::Concatenation,
            Extension::ConcatenationUnfinished,
        ];
        let discovery = Discovery {
            extensions: if self.all { extensions } else { Vec::new() },
            max_size: None,
            algorithms: Algorithm::ALL.to_vec(),
            limits: UploadLimits::default(),
        };
        Offer {
            discovery,
            download: self.all,
            method_override: self.all,
            tus: true,
            rufh: self.rufh,
        }
    }

    /// Reads a head whose body has this length, if that is known; `Err` is what a client hears.
    ///
    /// # Errors
    ///
    /// The answer to what cannot be understood.
    pub fn read(
        &self,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Result<Said, Box<Response<Bytes>>> {
        let mount = self.mount(headers);
        let target = mount.target(path);
        let body = BodyShape { empty: length == Some(0), length };
        let head = Head { method, target: &target, headers, body, mount: &mount };
        let offer = self.offer();
        let read = dialect::read(&head, &offer);
        let refused = |refusal: Refusal| refused(read.dialect, &offer, refusal);
        let understood = read.understood.map_err(refused)?;
        let mut said = Said {
            rufh: match read.dialect {
                Dialect::Rufh(interop) => Some(interop.number()),
                Dialect::Tus | Dialect::Discovery { .. } => None,
            },
            method: understood.method,
            id: understood.id,
            at: None,
            length: None,
            complete: None,
            partial: false,
            parts: None,
            metadata: None,
            brings: None,
            digest: None,
            trailer: false,
            range: None,
        };
        match understood.command {
            Command::Discover | Command::Inspect | Command::Terminate => {}
            Command::Create(create) => {
                said.length = create.length;
                said.complete = complete(create.completes);
                said.partial = create.kind == CreateKind::Partial;
                said.metadata = Some(create.metadata);
                if let CreateKind::Final(parts) = create.kind {
                    said.parts = Some(parts);
                }
                said.bring(create.content);
            }
            Command::Append(append) => {
                let append = append.map_err(refused)?;
                (said.at, said.length) = (Some(append.at), append.length);
                said.complete = complete(append.completes);
                said.bring(Some(append.content));
            }
            Command::Read(read) | Command::ReadOrInspect(read) => {
                said.range = read.range.map(plain)
            }
        }
        Ok(said)
    }

    /// The URL of an upload, as the client of these headers is told.
    pub fn url(&self, headers: &HeaderMap, id: &UploadId) -> String {
        self.mount(headers).url(id)
    }

    /// The upload that the client of these headers names by a URL.
    pub fn resolve(&self, headers: &HeaderMap, url: &str) -> Option<UploadId> {
        self.mount(headers).resolve(url).ok()
    }

    /// The address of the client of these headers.
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        Forwarded::read(headers, self.peer, &self.policy.trusted_proxies).client
    }
}

impl Said {
    fn bring(&mut self, content: Option<Content>) {
        let Some(Content { length, digest }) = content else { return };
        self.brings = Some(length);
        match digest {
            Promise::None => {}
            Promise::Digest(digest) => self.digest = Some(digest),
            Promise::Trailer => self.trailer = true,
        }
    }
}

fn refused(dialect: Dialect, offer: &Offer, refusal: Refusal) -> Box<Response<Bytes>> {
    let Answer { status, headers, body, .. } = dialect::write(dialect, offer, Err(refusal));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Box::new(response)
}

fn complete(completes: Completes) -> Option<bool> {
    match completes {
        Completes::AtItsLength => None,
        Completes::WithThisBody => Some(true),
        Completes::Later => Some(false),
    }
}

fn plain(range: RangeSpec) -> (Option<u64>, Option<u64>) {
    match range {
        RangeSpec::From(first, last) => (Some(first), last),
        RangeSpec::Suffix(last) => (None, Some(last)),
    }
}

/// Reads the value of an `Upload-Checksum`.
pub fn checksum(text: &str) -> Option<Digest> {
    fields::checksum(text).ok()
}

/// Reads the digest that trailers bring; `None` if it cannot be read.
pub fn trailers(fields: &HeaderMap) -> Option<Option<Digest>> {
    trailers::checksum(fields).ok()
}

/// Reads the value of a `Range`.
pub fn range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    fields::range(text).map(plain)
}

/// The metadata that a creation by RUFH brings.
pub fn metadata(headers: &HeaderMap) -> Option<Metadata> {
    rufh::metadata_of(headers).ok()
}

/// What `Upload-Complete` and `Upload-Length` say in RUFH.
pub fn items(headers: &HeaderMap) -> (Option<bool>, Option<u64>) {
    let complete = structured::boolean(headers, &names::UPLOAD_COMPLETE);
    (complete, structured::integer(headers, &names::UPLOAD_LENGTH))
}

/// The `Content-Disposition` and `Content-Type` of a download of metadata like this.
pub fn download(metadata: &Metadata) -> [HeaderValue; 2] {
    let disposition = disposition::content_disposition(metadata.filename().as_deref());
    [disposition, disposition::content_type(metadata.filetype().as_deref())]
}
