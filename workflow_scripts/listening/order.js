"use strict";

/* Orders that look random and depend on a text alone, so that a rater has the same ones after every reload. */

/** A 32-bit number from a text: FNV-1a over its UTF-8 bytes, then mixed so that near texts are far apart. */
function hashed(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The items in the order that belongs to a text: each draws a number, and the smallest comes first. */
function ordered(items, text, id) {
  const drawn = items.map((item) => ({ item, name: id(item), number: hashed(`${text}\n${id(item)}`) }));
  drawn.sort((a, b) => a.number - b.number || (a.name < b.name ? -1 : 1));
  return drawn.map((one) => one.item);
}
