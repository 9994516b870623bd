//! Reading JSON objects more strictly than serde does, in the same single pass.
//!
//! [`Object`] wraps a JSON deserializer for the derived code of a struct, and sees every key. It
//! refuses duplicate keys (readers differ in which value they use), reads structs only from objects
//! and never from arrays, and records the [`Place`], so that an error can name its field.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor, value::CowStrDeserializer},
    forward_to_deserialize_any,
};

/// Maximum nesting: events are two objects deep.
const LEVELS: usize = 2;

/// The current position in a document; after an error, the position of the error.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// How many objects are open.
    level: Cell<usize>,
    /// The field being read in each.
    fields: [Cell<Option<&'static str>>; LEVELS],
    /// The duplicate key, if any.
    duplicate: RefCell<Option<String>>,
    /// Whether an unknown field was ignored.
    extra: Cell<bool>,
}

impl Place {
    /// The path of the field being read, `payload.studentId`; the object's path, `payload`, if a field
    /// is missing.
    pub(crate) fn path(&self) -> String {
        let open = self.fields.iter().take(self.level.get());
        let names: Vec<_> = open.filter_map(Cell::get).collect();
        names.join(".")
    }

    pub(crate) fn is_in(&self, field: &str) -> bool {
        self.level.get() > 0 && self.fields[0].get() == Some(field)
    }

    pub(crate) fn take_duplicate(&self) -> Option<String> {
        self.duplicate.take()
    }

    pub(crate) fn has_extra(&self) -> bool {
        self.extra.get()
    }

    fn at(&self, field: Option<&'static str>) {
        if let Some(slot) = self.fields.get(self.level.get() - 1) {
            slot.set(field);
        }
    }
}

/// A deserializer that reads structs from objects, strictly, and everything else as `inner` does.
pub(crate) struct Object<'a, D> {
    pub(crate) inner: D,
    pub(crate) place: &'a Place,
}

/// Forwards a call unchanged, for values that are not objects.
macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Fields {
            visitor,
            fields,
            place: self.place,
        })
    }

    forward! {
        deserialize_any deserialize_ignored_any deserialize_bool deserialize_i8 deserialize_i16
        deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_seq deserialize_map deserialize_identifier
    }

    // No field of an event has these types: read as the document's own type.
    forward_to_deserialize_any! {
        unit_struct newtype_struct tuple tuple_struct enum
    }
}

/// Visits an object for a struct with these fields.
struct Fields<'a, V> {
    visitor: V,
    fields: &'static [&'static str],
    place: &'a Place,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Fields<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let place = self.place;
        place.level.set(place.level.get() + 1);
        place.at(None);
        let value = self.visitor.visit_map(Entries {
            map,
            fields: self.fields,
            place,
            seen: 0,
            extra: HashSet::new(),
        })?;
        // Not on an error: the place must keep the error's position.
        place.level.set(place.level.get() - 1);
        Ok(value)
    }
}

/// The entries of an object, each key once.
struct Entries<'a, 'de, A> {
    map: A,
    fields: &'static [&'static str],
    place: &'a Place,
    /// A bit for each of `fields` that occurred.
    seen: u64,
    /// The unknown keys. Empty, without an allocation, for the pipeline's own events.
    extra: HashSet<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> Entries<'_, 'de, A> {
    /// Returns the key for the derived code, or an error if it occurred before.
    fn once(&mut self, key: Cow<'de, str>) -> Result<Cow<'de, str>, A::Error> {
        let known = self.fields.iter().position(|field| **field == *key);
        let again = if let Some(index) = known {
            let bit = 1 << index;
            let again = self.seen & bit != 0;
            self.seen |= bit;
            again
        } else {
            self.place.extra.set(true);
            !self.extra.insert(key.clone())
        };
        if again {
            self.place.duplicate.replace(Some(key.into_owned()));
            return Err(de::Error::custom("a field occurs twice"));
        }
        self.place.at(known.map(|index| self.fields[index]));
        Ok(key)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key_seed(Key)? else {
            self.place.at(None);
            return Ok(None);
        };
        let key: CowStrDeserializer<'de, A::Error> = self.once(key)?.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let place = self.place;
        self.map.next_value_seed(Value { seed, place })
    }
}

/// The value of an entry, which may be an object again.
struct Value<'a, S> {
    seed: S,
    place: &'a Place,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Value<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let place = self.place;
        self.seed.deserialize(Object { inner, place })
    }
}

/// A key: borrowed from the document unless it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
