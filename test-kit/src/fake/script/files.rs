//! `FilesService`.

use hamlet_proto::hamlet::files::v1::{
    CheckTreeRequest, ListChildrenRequest, ListChildrenResponse, TreeEntry, WalkTreeRequest,
};

use super::{Stage, list, page};

pub(super) fn play(stage: &Stage<'_>) {
    stage.stream(|script, _: CheckTreeRequest| Ok(list(&script.findings, script.broken.as_ref())));
    stage.answer(|script, asked: ListChildrenRequest| {
        let (children, next_page_token) = page(&script.files, &asked.page_token, asked.page_size);
        Ok(ListChildrenResponse {
            children,
            next_page_token,
        })
    });
    stage.stream(|script, asked: WalkTreeRequest| {
        let deepest = asked.max_depth;
        let mut entries = script.tree.clone();
        entries.retain(|entry: &TreeEntry| deepest == 0 || entry.depth <= deepest);
        Ok(list(&entries, None))
    });
}
