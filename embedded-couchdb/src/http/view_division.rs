//! Divides the rows of a view, so that they can be counted.

use super::app::App;
use crate::{
    api_error::ApiError,
    storage::{
        databases::Database,
        view_blocks::{self, Position},
        view_counts,
    },
};

/// Divides the rows of a view into blocks that know how many they have, unless another query does so already. Where that
/// fails, counts read the rows.
pub(super) async fn divide(app: &App, db: &Database, view: (i64, i64)) {
    let name = format!("division of {} {}", view.0, view.1);
    let Some(_alone) = app.updating.alone(db.id, &name) else {
        return;
    };
    if let Err(error) = try_to_divide(app, view).await {
        tracing::debug!(%error, "the rows of a view are not divided");
    }
}

async fn try_to_divide(app: &App, view: (i64, i64)) -> Result<(), ApiError> {
    app.store
        .write(move |transaction| view_blocks::begin(transaction, view.0, view.1))
        .await?;
    let mut from = Some(Position::default());
    while let Some(position) = from.take() {
        let found = app
            .store
            .read(move |conn| view_counts::next_division(conn, view, &position))
            .await?;
        let Some(division) = found else {
            return Ok(());
        };
        from.clone_from(&division.next);
        if division.is_of_use() {
            app.store
                .write(move |transaction| view_counts::divide(transaction, view, &division))
                .await?;
        }
    }
    Ok(())
}
