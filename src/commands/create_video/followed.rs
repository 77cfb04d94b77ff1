//! What a video follows: flags first, then its campaign, then the settings.

use serde::Serialize;

use super::CreateVideoArgs;
use crate::commands::Context;
use crate::commands::campaigns::find_campaign;
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::store::campaign_styles::{self, CampaignStyle};
use crate::store::campaigns::Campaign;
use crate::studio::brief::Brief;
use crate::studio::producer::Source;
use crate::studio::wording::Wording;

/// The campaign that a video joins, with its style.
pub(super) struct InCampaign {
    pub(super) campaign: Campaign,
    pub(super) style: CampaignStyle,
}

impl InCampaign {
    pub(super) async fn find(typed: &str, context: &Context) -> Result<Self, Error> {
        let mut session = context.store().await?.session().await?;
        let campaign = find_campaign(&mut session, &context.settings.user, typed).await?;
        let style = campaign_styles::of(&mut session, campaign.id).await?;
        session.close().await;
        Ok(Self { campaign, style })
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    Flag,
    Campaign,
    Settings,
    Project,
}

/// The values that a campaign may give, and where they come from.
pub(super) struct Followed {
    pub(super) aspect_from: Origin,
    pub(super) budget: Option<Usd>,
    pub(super) budget_from: Option<Origin>,
    campaign: Option<String>,
}

impl Followed {
    /// Decides, and gives the brief its aspect. A kept storyboard was composed for its own, and
    /// must keep to the campaign's words.
    pub(super) fn new(
        arguments: &CreateVideoArgs,
        campaign: Option<&InCampaign>,
        brief: &mut Brief,
        source: Option<&Source>,
    ) -> Result<Self, Error> {
        let style = campaign.map(|campaign| &campaign.style);
        let aspect_from = match (source, &arguments.aspect, style.and_then(|style| style.aspect)) {
            (Some(_), ..) => Origin::Project,
            (None, Some(_), _) => Origin::Flag,
            (None, None, Some(aspect)) => {
                brief.aspect = aspect;
                Origin::Campaign
            }
            (None, None, None) => Origin::Settings,
        };
        let default_budget = style.and_then(|style| style.default_budget_usd);
        let budget_from = match (arguments.budget, default_budget) {
            (Some(_), _) => Some(Origin::Flag),
            (None, Some(_)) => Some(Origin::Campaign),
            (None, None) => None,
        };
        if let (Some(source), Some(style)) = (source, style) {
            let wording = Wording {
                to_use: style.words_to_use.clone(),
                to_avoid: style.words_to_avoid.clone(),
            };
            wording.check_storyboard(&source.storyboard).map_err(|problem| {
                Error::usage(format!("the kept storyboard does not follow the campaign: {problem}"))
                    .hint("leave out --campaign, or have it written anew from its brief")
            })?;
        }
        Ok(Self {
            aspect_from,
            budget: arguments.budget.or(default_budget),
            budget_from,
            campaign: campaign.map(|campaign| campaign.campaign.name.clone()),
        })
    }

    /// Says what the campaign decides.
    pub(super) fn tell(&self, context: &Context, brief: &Brief) {
        let Some(campaign) = &self.campaign else { return };
        let mut given = Vec::new();
        if self.aspect_from == Origin::Campaign {
            given.push(format!("aspect {}", brief.aspect));
        }
        if let (Some(Origin::Campaign), Some(budget)) = (self.budget_from, self.budget) {
            given.push(format!("a budget of {budget}"));
        }
        if !given.is_empty() {
            let given = given.join(" and ");
            context.output.status(format!("from the campaign '{campaign}': {given}"));
        }
    }
}
