//! Which passages a search looks at.

use jiff::Timestamp;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use crate::ids::{CampaignId, ProjectId};
use crate::store::embeddings::PassageKind;

/// Which passages a search looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Whose passages.
    pub user_id: String,
    /// Only these kinds; empty for all.
    pub kinds: Vec<PassageKind>,
    /// Only what belongs to a project of this campaign.
    pub campaign: Option<CampaignId>,
    /// Nothing that belongs to this project.
    pub without_project: Option<ProjectId>,
    /// Only what belongs to a project of this aspect ratio, as `9:16`.
    pub aspect: Option<String>,
    /// Only what was made at this time or later: the project, the take or the file.
    pub since: Option<Timestamp>,
    /// Only what was made before this time.
    pub until: Option<Timestamp>,
    /// Only what was rated so well on average, 1 to 5: the shot, and where it has no rating of
    /// its own, its project.
    pub rating: Option<f64>,
}

impl Scope {
    /// Binds the scope to the first eight parameters of a statement with [`within_scope!`]; what
    /// is bound next is $9.
    pub(super) fn bind<'query, Row>(
        &'query self,
        statement: QueryAs<'query, Postgres, Row, PgArguments>,
    ) -> QueryAs<'query, Postgres, Row, PgArguments> {
        statement
            .bind(&self.user_id)
            .bind(self.kind_names())
            .bind(self.campaign)
            .bind(self.without_project)
            .bind(&self.aspect)
            .bind(self.since.map(jiff_sqlx::ToSqlx::to_sqlx))
            .bind(self.until.map(jiff_sqlx::ToSqlx::to_sqlx))
            .bind(self.rating)
    }

    fn kind_names(&self) -> Option<Vec<&'static str>> {
        if self.kinds.is_empty() {
            None
        } else {
            Some(self.kinds.iter().map(|kind| kind.as_str()).collect())
        }
    }
}

/// The condition that a [`Scope`] stands for, on `passage` and the parameters $1 to $8. Each part
/// is a set that is made once for a statement, and only where it is asked for.
macro_rules! within_scope {
    () => {
        "passage.user_id = $1
         AND ($2::text[] IS NULL OR passage.kind = ANY ($2))
         AND ($3::uuid IS NULL OR passage.project_id IN
              (SELECT project_id FROM project_campaigns WHERE campaign_id = $3))
         AND ($4::uuid IS NULL OR passage.project_id IS DISTINCT FROM $4)
         AND ($5::text IS NULL OR passage.project_id IN
              (SELECT id FROM projects WHERE user_id = $1 AND aspect = $5))
         AND (($6::timestamptz IS NULL AND $7::timestamptz IS NULL) OR
              CASE passage.kind
                  WHEN 'file' THEN passage.subject_id IN
                      (SELECT id FROM user_files WHERE user_id = $1
                       AND created_at >= coalesce($6, '-infinity') AND created_at < coalesce($7, 'infinity'))
                  WHEN 'take' THEN passage.subject_id IN
                      (SELECT takes.id FROM takes JOIN projects ON projects.id = takes.project_id
                       WHERE projects.user_id = $1
                       AND takes.created_at >= coalesce($6, '-infinity') AND takes.created_at < coalesce($7, 'infinity'))
                  ELSE passage.project_id IN
                      (SELECT id FROM projects WHERE user_id = $1
                       AND created_at >= coalesce($6, '-infinity') AND created_at < coalesce($7, 'infinity'))
              END)
         AND ($8::float8 IS NULL OR
              CASE WHEN passage.subject_id IN
                       (SELECT shot_id FROM project_feedback
                        WHERE shot_id IS NOT NULL AND rating IS NOT NULL AND superseded_at IS NULL
                        UNION ALL
                        SELECT takes.id FROM takes JOIN project_feedback ON project_feedback.shot_id = takes.shot_id
                        WHERE rating IS NOT NULL AND superseded_at IS NULL)
                   THEN passage.subject_id IN
                       (SELECT shot_id FROM project_feedback WHERE shot_id IS NOT NULL AND superseded_at IS NULL
                        GROUP BY shot_id HAVING avg(rating) >= $8
                        UNION ALL
                        SELECT takes.id FROM takes JOIN project_feedback ON project_feedback.shot_id = takes.shot_id
                        WHERE superseded_at IS NULL GROUP BY takes.id HAVING avg(rating) >= $8)
                   ELSE passage.project_id IN
                       (SELECT project_id FROM project_feedback WHERE shot_id IS NULL AND superseded_at IS NULL
                        GROUP BY project_id HAVING avg(rating) >= $8)
              END)"
    };
}

pub(super) use within_scope;
