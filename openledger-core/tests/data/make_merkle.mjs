// Writes the fixtures beside it with OpenZeppelin's own library: npm i @openzeppelin/merkle-tree@1.0.8
import { writeFileSync } from "node:fs";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { getAddress } from "ethers";

const claim = (n) => [getAddress("0x" + (n * 7919).toString(16).padStart(40, "0")), String(10n ** BigInt(n % 60) + BigInt(n))];
const cases = { 1: [1], 2: [2, 3], "5_same": [4, 4, 5, 5, 4], 11: [...Array(11).keys()] };
for (const [name, seeds] of Object.entries(cases)) {
  const tree = StandardMerkleTree.of(seeds.map(claim), ["address", "uint256"]);
  writeFileSync(new URL(`merkle_${name}.json`, import.meta.url), JSON.stringify(tree.dump()) + "\n");
}
