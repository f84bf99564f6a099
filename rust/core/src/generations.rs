//! A map with bounded weight that forgets what was not used lately, in two generations: what is used moves to the
//! young one; when that is full, the old one is dropped and the young one grows old. Every step is O(1).

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

pub struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
    old_weight: usize,
    /// Of one generation.
    weight_max: usize,
}

impl<K: Eq + Hash + Copy, V> Generations<K, V> {
    pub fn new(weight_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_weight: 0,
            old_weight: 0,
            weight_max: weight_max / 2,
        }
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (value, weight) = self.old.remove(key)?;
            self.old_weight -= weight;
            self.insert(*key, value, weight);
        }
        self.young.get_mut(key).map(|(value, _)| value)
    }

    pub fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if self.young_weight + weight > self.weight_max {
            self.old = mem::take(&mut self.young);
            self.old_weight = mem::take(&mut self.young_weight);
        }
        self.young.insert(key, (value, weight));
        self.young_weight += weight;
    }

    /// Says that the value has become heavier.
    pub fn grow(&mut self, key: &K, by: usize) {
        if let Some((_, weight)) = self.young.get_mut(key) {
            *weight += by;
            self.young_weight += by;
        }
        if self.young_weight > self.weight_max {
            self.old = mem::take(&mut self.young);
            self.old_weight = mem::take(&mut self.young_weight);
        }
    }

    pub fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_weight -= weight;
        }
        if let Some((_, weight)) = self.old.remove(key) {
            self.old_weight -= weight;
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.young.retain(|key, _| keep(key));
        self.old.retain(|key, _| keep(key));
        self.young_weight = self.young.values().map(|(_, weight)| weight).sum();
        self.old_weight = self.old.values().map(|(_, weight)| weight).sum();
    }

    pub fn weight(&self) -> usize {
        self.young_weight + self.old_weight
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn keeps_what_is_used_and_stays_within_its_weight() {
        let mut map = Generations::new(20);
        for key in 0..1000 {
            map.insert(key, key, 1);
            assert_eq!(map.get_mut(&0).copied(), Some(0));
            assert!(map.weight() <= 20);
        }
        assert!(map.get_mut(&1).is_none());
    }

    #[test]
    fn weights_follow_growth_and_removal() {
        let mut map = Generations::new(100);
        map.insert(1, (), 10);
        map.grow(&1, 5);
        map.insert(2, (), 1);
        assert_eq!(map.weight(), 16);
        map.remove(&1);
        assert_eq!(map.weight(), 1);
        map.retain(|_| false);
        assert_eq!(map.weight(), 0);
    }
}
