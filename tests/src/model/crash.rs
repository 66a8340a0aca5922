//! What may be left when a process dies in the midst of a request.

use super::{
    Expected, Reference, Request, Says, Then,
    reference::{Who, status},
};

impl Reference {
    /// All that may be true after a process died while it did this, and another one took over.
    ///
    /// The request has not happened, or it has, unheard; or its bytes have come as far as one of
    /// its frames, and of those as many are durable as were at any moment, or all.
    /// `made` is how many ids were given away.
    pub fn crashes(&self, request: &Request, made: u64) -> Vec<Self> {
        let request = self.resolve(request);
        let begun = request.with_body();
        let mut all = vec![self.clone()];
        let frames = request.body().map_or(0, |body| body.frames.len());
        for come in 0..=frames {
            let mut one = self.clone();
            one.ask(Who::Asking, &begun, false, &[]);
            let Some(place) = one.transfers.iter().position(|one| one.who == Who::Asking) else {
                continue;
            };
            let upload = one.transfers[place].upload;
            let mut durable = vec![one.uploads[upload].durable];
            for _ in 0..come {
                let frame = one.transfers[place].rest.pop_front().unwrap_or(0);
                one.stores(place, u64::from(frame));
                durable.push(one.uploads[upload].durable);
            }
            let whole = one.uploads[upload].bytes.len();
            durable.push(whole);
            for durable in durable {
                one.uploads[upload].durable = durable;
                all.push(one.clone());
            }
            // Its client has said that this is all, and the rest of that is not done yet.
            if begun.says() == Says::Complete && come == frames {
                one.uploads[upload].length = Some(whole as u64);
                all.push(one);
            }
        }
        if let Request::Create { says: Says::Tus, length: Some(0), .. } = begun {
            // It has had all its bytes before its body was looked at.
            let mut one = self.clone();
            one.ask(Who::Asking, &begun, false, &[]);
            if let Some(transfer) = one.transfers.pop_if(|one| one.who == Who::Asking) {
                one.finish(transfer.upload);
                all.push(one);
            }
        }
        if begun.says().is_rufh() {
            // It has outgrown its length, was cut back, and is yet to end.
            let mut back = self.clone();
            back.ask(Who::Asking, &begun, false, &[]);
            if let Some(transfer) = back.transfers.iter_mut().find(|one| one.who == Who::Asking)
                && !transfer.creates
                && transfer.length.is_some()
            {
                transfer.says = Says::Tus;
                back.goes_on(Who::Asking, Then::Rest);
                all.push(back);
            }
        }
        let mut whole = self.clone();
        whole.ask(Who::Asking, &request, false, &[]);
        whole.goes_on(Who::Asking, Then::Rest);
        all.push(whole);
        for one in &mut all {
            one.heard.clear();
            one.uploads.iter_mut().for_each(|upload| upload.failed = false);
            one.restart();
            one.made = made;
        }
        all
    }

    /// Whether the service can be in this state: what it says of all uploads is what this says.
    /// `heads` are the answers to a HEAD of each id, in this order.
    pub fn agrees(&mut self, heads: &[(u64, Expected)]) -> bool {
        heads.iter().all(|(number, head)| {
            self.uploads.iter_mut().for_each(|upload| upload.failed = false);
            let upload = self.uploads.iter().position(|one| one.number == *number);
            let expected = match upload {
                Some(upload) => self.inspect(upload),
                None => status(404),
            };
            expected == *head
        })
    }

    /// A HEAD of an upload.
    pub fn inspect(&mut self, upload: usize) -> Expected {
        let heard = self.look(upload, Says::Tus, false, &[]);
        self.heard.clear();
        heard
    }
}
