// Portraits: DiceBear's procedural figures, drawn on a 64-pixel canvas.
//
//   npm install @dicebear/core@9 @dicebear/personas@9 @dicebear/toon-head@9 @dicebear/open-peeps@9 @resvg/resvg-js@2
//   node portraits.mjs FOLDER COUNT
//
// Writes FOLDER/portraits.rgb (COUNT x 64 x 64 x 3 bytes) and FOLDER/portraits.jsonl (one line of
// attributes each). Portrait number n is a function of n alone. Designs: Personas by Draftbit
// (CC BY 4.0), ToonHead by Johan Melin (CC BY 4.0), Open Peeps by Pablo Stanley (CC0).

import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { createAvatar } from '@dicebear/core';
import * as personas from '@dicebear/personas';
import * as toonHead from '@dicebear/toon-head';
import * as openPeeps from '@dicebear/open-peeps';
import { Resvg } from '@resvg/resvg-js';

const SIZE = 64;
const STYLES = [['personas', personas], ['toon-head', toonHead], ['open-peeps', openPeeps]];
const BACKGROUNDS = { blue: 'b6e3f4', violet: 'd1d4f9', yellow: 'ffe9a8', green: 'c8ecc9', white: 'f7f7f7' };
const NAMES = Object.keys(BACKGROUNDS);

const [folder, count] = [process.argv[2], Number(process.argv[3])];
if (!folder || !(count > 0)) throw new Error('usage: node portraits.mjs FOLDER COUNT');
const pixels = createWriteStream(`${folder}/portraits.rgb`);
const lines = createWriteStream(`${folder}/portraits.jsonl`);

async function write(stream, data) {
  if (!stream.write(data)) await once(stream, 'drain');
}

for (let n = 0; n < count; n++) {
  const [style, design] = STYLES[n % STYLES.length];
  const background = NAMES[Math.floor(n / STYLES.length) % NAMES.length];
  const avatar = createAvatar(design, {
    seed: `portrait ${n}`, size: SIZE, backgroundColor: [BACKGROUNDS[background]],
  });
  const { pixels: rgba } = new Resvg(avatar.toString(), { fitTo: { mode: 'width', value: SIZE } }).render();
  const rgb = Buffer.alloc(SIZE * SIZE * 3);
  for (let i = 0; i < SIZE * SIZE; i++) rgba.copy(rgb, 3 * i, 4 * i, 4 * i + 3);
  await write(pixels, rgb);
  await write(lines, JSON.stringify({ style, background, ...avatar.toJson().extra }) + '\n');
}
pixels.end();
lines.end();
