// Prints 200 random trees of 1 to 1,000 leaves as OpenZeppelin's library makes them: one JSON
// object a line, with the dump and the proofs of some leaves. The seed is the first argument.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
const seed = process.argv[2];
const random = (...path) => createHash("sha256").update([seed, ...path].join("/")).digest("hex");
const below = (limit, ...path) => parseInt(random(...path).slice(0, 12), 16) % limit;

const FIRST = [1, 2, 3, 1000]; // the sizes that matter most, then any
for (let tree = 0; tree < 200; tree++) {
  const size = FIRST[tree] ?? (tree % 20 === 0 ? 1 : 1 + below(1000, "size", tree));
  const values = Array.from({ length: size }, (_, leaf) => ["0x" + random("leaf", tree, leaf)]);
  const made = StandardMerkleTree.of(values, ["bytes32"]);
  const asked = new Set([0, size - 1, ...Array.from({ length: 6 }, (_, i) => below(size, "ask", tree, i))]);
  const proofs = [...asked].map((leaf) => [leaf, made.getProof(leaf)]);
  console.log(JSON.stringify({ root: made.root, dump: made.dump(), proofs }));
}
