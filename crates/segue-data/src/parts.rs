//! Snapshots in memory, for tests: the derived tables from the sequences, in the plainest way.

use std::collections::BTreeMap;

use segue_types::{Item, ItemKey, TimestampMs, User, UserKey};

use crate::aggregates::item_stats::ItemStats;
use crate::aggregates::{CO_LISTEN_TOP, CO_LISTEN_WINDOW};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::sequences::OwnedSequences;
use crate::snapshot::{
    CoListenColumns, Column, ExampleStore, InteractionColumns, Manifest, MarketColumns, PlayColumns,
    ProfileRow, Snapshot, SnapshotParts, StatColumns, StateColumns, action_counts,
};

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

    let from = if examples.is_empty() { ExamplesFrom::Nothing } else { ExamplesFrom::Impressions };
    Ok(Snapshot {
        manifest: Manifest { snapshot_id: "from-parts".to_owned(), ..Manifest::default() },
        item_keys: Column::Owned(items.iter().map(|i| ItemKey::of(&i.item_id).0).collect()),
        user_keys: Column::Owned(users.iter().map(|u| UserKey::of(&u.user_id).0).collect()),
        profiles: profile_rows,
        interactions: interactions(&seq),
        stats: stats(&seq)?,
        markets: markets(&seq, &users),
        co_listens: co_listens(&seq),
        states: StateColumns::default(),
        examples: ExampleStore::Owned(from, Box::new(examples)),
        plays: PlayColumns {
            offsets: Column::Owned(seq.offsets),
            item: Column::Owned(seq.item),
            action: Column::Owned(seq.action),
            occurred_at: Column::Owned(seq.occurred_at),
            known_at: Column::Owned(seq.known_at),
            session: Column::Owned(seq.session),
            listened_ms: Column::default(),
        },
        items,
        users,
    })
}

fn action(s: &crate::sequences::Sequence<'_>, i: usize) -> [u32; 4] {
    action_counts(s.action.get(i).copied().unwrap_or(0), u32::MAX)
}

fn interactions(seq: &OwnedSequences) -> InteractionColumns {
    let (mut offsets, mut item, mut counts, mut last) = (vec![0], Vec::new(), Vec::new(), Vec::new());
    for s in seq.view().iter() {
        let mut by_item: BTreeMap<u32, ([u32; 4], i64)> = BTreeMap::new();
        for i in 0..s.len() {
            let entry = by_item.entry(s.item[i]).or_insert(([0; 4], i64::MIN));
            for (sum, n) in entry.0.iter_mut().zip(action(&s, i)) {
                *sum += n;
            }
            entry.1 = entry.1.max(s.occurred_at.get(i).copied().unwrap_or(0));
        }
        for (key, (n, at)) in by_item {
            item.push(key);
            counts.push(n);
            last.push(at);
        }
        offsets.push(item.len() as u64);
    }
    InteractionColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(item),
        counts: Column::Owned(counts),
        last_played_at: Column::Owned(last),
    }
}

fn stats(seq: &OwnedSequences) -> Result<StatColumns, DataError> {
    let mut days: BTreeMap<(u32, i32), [u32; 6]> = BTreeMap::new();
    let mut listeners = std::collections::BTreeSet::new();
    for (user, s) in seq.view().iter().enumerate() {
        for i in 0..s.known_at.len() {
            let key = (s.item[i], TimestampMs(s.known_at[i]).day().0);
            let [plays, streams, completions, skips] = action(&s, i);
            let timed = u32::from(streams + completions + skips > 0 || !s.action.is_empty());
            let first = u32::from(listeners.insert((key, user)));
            let add = [plays, timed, streams, completions, skips, first];
            for (sum, n) in days.entry(key).or_default().iter_mut().zip(add) {
                *sum += n;
            }
        }
    }
    let mut out = vec![(Vec::new(), Vec::new(), Vec::new()); 1];
    let (day, counts, decayed) = &mut out[0];
    let mut offsets = vec![0_u64; seq.n_items as usize + 1];
    let mut sum = (u32::MAX, ItemStats::default());
    for (&(item, d), add) in &days {
        if sum.0 != item {
            sum = (item, ItemStats { day: segue_types::Day(d), ..ItemStats::default() });
        }
        sum.1 = sum
            .1
            .with_day(segue_types::Day(d), add)
            .ok_or_else(|| out_of_range("plays of one item", u32::MAX as usize, u32::MAX as usize))?;
        let s = sum.1;
        day.push(d);
        counts.push([s.plays, s.timed_plays, s.streams, s.completions, s.skips, s.listener_days]);
        decayed.push(s.plays_decayed);
        offsets[item as usize + 1] = day.len() as u64;
    }
    for i in 1..offsets.len() {
        offsets[i] = offsets[i].max(offsets[i - 1]);
    }
    let (day, counts, decayed) = out.remove(0);
    Ok(StatColumns {
        offsets: Column::Owned(offsets),
        day: Column::Owned(day),
        counts: Column::Owned(counts),
        decayed: Column::Owned(decayed),
    })
}

fn markets(seq: &OwnedSequences, users: &[User]) -> MarketColumns {
    let mut plays: BTreeMap<(&str, i32, u32), u32> = BTreeMap::new();
    for (user, s) in seq.view().iter().enumerate() {
        let market = users[user].market.as_deref().unwrap_or("");
        for (&item, &at) in s.item.iter().zip(s.known_at) {
            *plays.entry((market, TimestampMs(at).day().0, item)).or_default() += 1;
        }
    }
    let (mut names, mut day_offsets, mut day) = (Vec::<String>::new(), vec![0_u64], Vec::new());
    let (mut item_offsets, mut item, mut count) = (vec![0_u64], Vec::new(), Vec::new());
    let mut last: Option<(&str, i32)> = None;
    for (&(market, d, i), &n) in &plays {
        if last.map(|l| l.0) != Some(market) {
            names.push(market.to_owned());
            day_offsets.push(day.len() as u64);
        }
        if last != Some((market, d)) {
            day.push(d);
            item_offsets.push(item.len() as u64);
        }
        last = Some((market, d));
        item.push(i);
        count.push(n);
        let (n_days, n_entries) = (day.len() as u64, item.len() as u64);
        if let (Some(d), Some(e)) = (day_offsets.last_mut(), item_offsets.last_mut()) {
            (*d, *e) = (n_days, n_entries);
        }
    }
    MarketColumns {
        names,
        day_offsets: Column::Owned(day_offsets),
        day: Column::Owned(day),
        item_offsets: Column::Owned(item_offsets),
        item: Column::Owned(item),
        plays: Column::Owned(count),
    }
}

fn co_listens(seq: &OwnedSequences) -> CoListenColumns {
    let mut pairs: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for s in seq.view().iter() {
        for i in 0..s.session.len() {
            for j in i.saturating_sub(CO_LISTEN_WINDOW)..i {
                if s.session[i] == s.session[j] && s.item[i] != s.item[j] {
                    *pairs.entry((s.item[i], s.item[j])).or_default() += 1;
                    *pairs.entry((s.item[j], s.item[i])).or_default() += 1;
                }
            }
        }
    }
    let mut by_item: Vec<Vec<(u32, u32)>> = vec![Vec::new(); seq.n_items as usize];
    for ((a, b), n) in pairs {
        by_item[a as usize].push((b, n));
    }
    let (mut offsets, mut item, mut count) = (vec![0], Vec::new(), Vec::new());
    for mut list in by_item {
        list.sort_unstable_by_key(|&(other, n)| (std::cmp::Reverse(n), other));
        for (other, n) in list.into_iter().take(CO_LISTEN_TOP) {
            item.push(other);
            count.push(n);
        }
        offsets.push(item.len() as u64);
    }
    CoListenColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(item),
        count: Column::Owned(count),
    }
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
