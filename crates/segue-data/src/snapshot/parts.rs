//! Snapshots in memory, for tests: the derived tables come from the sequences.

use segue_types::{Item, ItemKey, TimestampMs, User, UserKey};

use super::by_key::ByKey;
use super::column::Column;
use super::markets::MarketBlocks;
use super::states::States;
use super::times::Times;
use super::{ExampleStore, Manifest, PlayColumns, ProfileRow, Snapshot, SnapshotParts, tables};
use crate::aggregates::co_listens::{self, Known, Through};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::play_context;
use crate::sequences::OwnedSequences;

/// The given order → row in key order; refuses two ids with one key and one id twice.
fn rows<K: Ord + Copy + std::fmt::Display>(
    kind: &'static str,
    ids: &[&str],
    key: impl Fn(&str) -> K,
) -> Result<(Vec<u32>, Vec<usize>), DataError> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&i| key(ids[i]));
    for pair in order.windows(2) {
        if key(ids[pair[0]]) == key(ids[pair[1]]) {
            return Err(DataError::KeyCollision {
                kind,
                first: ids[pair[0]].to_owned(),
                second: ids[pair[1]].to_owned(),
                key: key(ids[pair[0]]).to_string(),
            });
        }
    }
    let mut row = vec![0; ids.len()];
    for (r, &i) in order.iter().enumerate() {
        row[i] = r as u32;
    }
    Ok((row, order))
}

fn out_of_range(what: &'static str, got: usize, limit: usize) -> DataError {
    DataError::TooMany { what, got: got as u64, limit: limit as u64 }
}

/// See [`Snapshot::from_parts`].
pub(crate) fn assemble(parts: SnapshotParts) -> Result<Snapshot, DataError> {
    let SnapshotParts { items, users, sequences, profiles, examples } = parts;
    let ids: Vec<&str> = items.iter().map(|i| i.item_id.as_str()).collect();
    let (item_row, item_order) = rows("item", &ids, ItemKey::of)?;
    let ids: Vec<&str> = users.iter().map(|u| u.user_id.as_str()).collect();
    let (user_row, user_order) = rows("user", &ids, UserKey::of)?;
    let items: Vec<Item> = item_order.iter().map(|&i| items[i].clone()).collect();
    let users: Vec<User> = user_order.iter().map(|&u| users[u].clone()).collect();

    let n_given = sequences.view().n_users();
    if n_given > users.len() {
        return Err(out_of_range("users of the sequences", n_given, users.len()));
    }
    let mut seq = OwnedSequences { n_items: items.len() as u32, ..OwnedSequences::default() };
    seq.offsets.push(0);
    for &u in &user_order {
        if u < n_given {
            seq.push(sequences.view().user(u));
        } else {
            seq.offsets.push(seq.item.len() as u64);
        }
    }
    if !seq.session.is_empty() {
        seq.context.resize(seq.item.len(), 0);
        for user in seq.offsets.windows(2) {
            let plays = user[0] as usize..user[1] as usize;
            play_context::mark_sessions(&mut seq.context[plays.clone()], &seq.session[plays]);
        }
    }
    for item in &mut seq.item {
        *item = *item_row
            .get(*item as usize)
            .ok_or_else(|| out_of_range("item index in the sequences", *item as usize, items.len()))?;
    }
    let mut profile_rows = Vec::with_capacity(profiles.len());
    for p in profiles {
        let (u, i) = (user_row.get(p.user as usize), item_row.get(p.item as usize));
        let (Some(&user), Some(&item)) = (u, i) else {
            return Err(out_of_range("index in the profiles", p.user.max(p.item) as usize, items.len()));
        };
        profile_rows.push(ProfileRow { user, item, ..p });
    }
    profile_rows.sort_unstable_by_key(|p| (p.user, p.item));

    let mut market_names: Vec<String> = users.iter().map(|u| u.market.clone().unwrap_or_default()).collect();
    let market = |u: &User| u.market.clone().unwrap_or_default();
    market_names.sort_unstable();
    market_names.dedup();
    let market_of: Vec<u32> =
        users.iter().map(|u| market_names.partition_point(|m| *m < market(u)) as u32).collect();
    let from = if examples.is_empty() { ExamplesFrom::Nothing } else { ExamplesFrom::Impressions };
    let item_keys: Vec<u64> = items.iter().map(|i| ItemKey::of(&i.item_id).0).collect();
    let plays = tables::Plays {
        new: seq.view(),
        listened_ms: &[],
        all: seq.view(),
        item_keys: &item_keys,
        markets: &market_names,
        market_of: &market_of,
    };
    let (stats, markets) = tables::by_item(plays, None, None)?;
    let blocks = markets.iter().map(|(&block, part)| Ok((block, ByKey::of(part)?)));
    let markets = MarketBlocks { blocks: blocks.collect::<Result<_, DataError>>()? };
    let day = co_listens::days(&stats, &item_keys);
    let known = Known { offsets: &seq.offsets, at: &seq.known_at };
    let through = (!seq.known_at.is_empty()).then_some(Through { day: &day, known });
    let co_listens = co_listens::top(seq.view(), through, None);
    let range = |(&a, &b): (&i64, &i64)| (TimestampMs(a), TimestampMs(b));
    Ok(Snapshot {
        manifest: Manifest {
            snapshot_id: "from-parts".to_owned(),
            n_items: items.len() as u64,
            n_users: users.len() as u64,
            time_range: seq.occurred_at.iter().min().zip(seq.occurred_at.iter().max()).map(range),
            known_range: seq.known_at.iter().min().zip(seq.known_at.iter().max()).map(range),
            examples_from: from,
            markets: markets.with_plays(&market_names),
            ..Manifest::default()
        },
        item_keys: Column::Owned(item_keys),
        user_keys: Column::Owned(users.iter().map(|u| UserKey::of(&u.user_id).0).collect()),
        profiles: profile_rows,
        stats,
        markets,
        co_listens,
        states: States::default(),
        examples: ExampleStore::Owned(from, Box::new(examples)),
        plays: PlayColumns {
            offsets: Column::Owned(seq.offsets),
            item: Column::Owned(seq.item),
            action: Column::Owned(seq.action),
            context: Column::Owned(seq.context),
            session: Column::Owned(seq.session).into(),
            times: Times::owned(seq.known_at, seq.occurred_at),
        },
        items,
        users,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use segue_types::{DAY_MS, Day};

    #[test]
    fn parts_in_any_order_become_rows_in_key_order_and_keep_their_plays() {
        let items: Vec<Item> = ["c", "a", "b"].map(Item::new).into();
        let users: Vec<User> = ["u1", "u2"]
            .map(|id| User { user_id: id.to_owned(), market: Some("SE".into()), ..User::default() })
            .into();
        let mut sequences = OwnedSequences { n_items: 3, ..OwnedSequences::default() };
        sequences.push(crate::Sequence {
            item: &[0, 1, 0],
            action: &[4, 5, 4],
            occurred_at: &[0, 1, DAY_MS],
            known_at: &[0, 1, DAY_MS],
            session: &[0, 0, 1],
            context: &[],
        });
        sequences.push(crate::Sequence::default());
        let parts = SnapshotParts { items, users, sequences, ..SnapshotParts::default() };
        let s = Snapshot::from_parts(parts).unwrap();
        let row = |id: &str| s.item_row(ItemKey::of(id)).unwrap();
        let u1 = s.user_row(UserKey::of("u1")).unwrap();
        assert_eq!(s.sequences().user(u1 as usize).item, [row("c"), row("a"), row("c")]);
        assert!(s.item_keys().is_sorted());
        let stats = s.item_stats(row("c"), Day(0)).unwrap();
        assert_eq!((stats.plays, stats.completions), (1, 1));
        assert_eq!(s.item_stats(row("c"), Day(5)).unwrap().plays, 2);
        assert_eq!(s.item_stats(row("b"), Day(5)), None);
        let neighbours: Vec<_> = s.co_listens(row("c")).map(|c| (c.item, c.count)).collect();
        assert_eq!(neighbours, [(row("a"), 1)]);
        let days: Vec<_> = s.market_days("SE", Day(9)).map(|d| (d.day.0, d.plays.to_vec())).collect();
        assert_eq!(days, [(0, vec![1, 1]), (1, vec![1])]);
        assert_eq!(s.interactions(u1).map(|i| i.n_plays).sum::<u32>(), 3);
    }
}
