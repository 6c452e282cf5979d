// Gas of the payment contracts' hot paths in real transactions: `node test/payments/gas.mjs`, after `forge build`.
// Starts a node of its own; exits with 1 if a figure is over its limit.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createPublicClient, createTestClient, createWalletClient, concat, defineChain, encodeAbiParameters, http, keccak256, parseEther, toHex } from "viem";
import { generatePrivateKey, mnemonicToAccount, privateKeyToAccount } from "viem/accounts";

const port = 18_733;
const binary = new URL("../../node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil", import.meta.url).pathname;
const anvil = spawn(binary, ["--port", port, "--hardfork", "prague", "--silent", "--gas-limit", "100000000"]);
process.on("exit", () => anvil.kill());

const chain = defineChain({ id: 31337, name: "local", nativeCurrency: { name: "ETH", symbol: "ETH", decimals: 18 }, rpcUrls: { default: { http: [`http://127.0.0.1:${port}`] } } });
const transport = http();
const reads = createPublicClient({ chain, transport, pollingInterval: 5 });
const time = createTestClient({ chain, transport, mode: "anvil" });
const [admin, node, holder] = [0, 1, 2].map((addressIndex) => mnemonicToAccount("test test test test test test test test test test test junk", { addressIndex }));
const wallet = createWalletClient({ chain, transport, account: admin });
while (true) {
  try { await reads.getChainId(); break; } catch { await new Promise((wake) => setTimeout(wake, 50)); }
}

const artifact = (name) => JSON.parse(readFileSync(new URL(`../../out/${name}.sol/${name}.json`, import.meta.url)));
const mined = async (hash) => {
  const receipt = await reads.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`transaction ${hash} failed`);
  return receipt;
};
const deploy = async (name, ...args) => {
  const { abi, bytecode } = artifact(name);
  const { contractAddress } = await mined(await wallet.deployContract({ abi, bytecode: bytecode.object, args }));
  return { abi, address: contractAddress };
};
const send = async (contract, functionName, args, account = admin) =>
  (await mined(await wallet.writeContract({ ...contract, functionName, args, account, gas: 30_000_000n }))).gasUsed;
const read = (contract, functionName, args = []) => reads.readContract({ ...contract, functionName, args });
const word = (n) => keccak256(toHex(n));
const pass = async (seconds) => { await time.increaseTime({ seconds }); await time.mine({ blocks: 1 }); };

let failed = false;
const report = (what, gas, limit) => {
  console.log(`${what.padEnd(48)} ${String(gas).padStart(9)}  limit ${limit}`);
  if (gas > limit) failed = true;
};

const roles = await deploy("Roles", admin.address);
const token = await deploy("OpenToken", admin.address);
const batches = await deploy("AttributionLog", roles.address);
const distributor = await deploy("RewardDistributor", roles.address, token.address, 10);
const escrow = await deploy("InferenceEscrow", token.address, batches.address, distributor.address, 10, roles.address);
await send(batches, "setWindow", [10]);
await send(batches, "admit", [node.address]);

// log
const log = (n) => send(batches, "log", [7n, word(1), word(`root ${n}`), word(`body ${n}`), 1000], node);
report("log, first", await log(0), 52_000n);
report("log, next", await log(1), 52_000n);

// claims in a tree of 2^16 leaves: sixteen siblings
const pair = (a, b) => keccak256(a < b ? concat([a, b]) : concat([b, a]));
const path = Array.from({ length: 16 }, (_, i) => word(`sibling ${i}`));
const leaf = (cumulative) => keccak256(keccak256(encodeAbiParameters(
  ["uint256", "address", "address", "address", "uint256"].map((type) => ({ type })),
  [31337n, distributor.address, holder.address, token.address, cumulative],
)));
await send(token, "approve", [distributor.address, parseEther("1000000")]);
await send(distributor, "fund", [parseEther("1000")]);
for (const [index, cumulative, what, limit] of [[0n, parseEther("1.234567890123456789"), "first", 106_000n], [1n, parseEther("2.345678901234567891"), "repeat", 71_500n]]) {
  await send(distributor, "submitRoot", [path.reduce(pair, leaf(cumulative)), word("body"), parseEther("10")]);
  await pass(11);
  report(`claim at 2^16 leaves, ${what}`, await send(distributor, "claim", [index, holder.address, cumulative, path], node), limit);
}

// EIP-3009 on the L2 token
const l2 = await deploy("OpenTokenL2", admin.address, token.address, admin.address);
await send(l2, "mint", [holder.address, parseEther("100")]);
const types = { TransferWithAuthorization: ["address from", "address to", "uint256 value", "uint256 validAfter", "uint256 validBefore", "bytes32 nonce"].map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] })) };
for (const [contract, name] of [[l2, "OpenTokenL2"], [token, "OpenToken"]]) {
  for (const what of ["new", "old"]) {
    const message = { from: holder.address, to: node.address, value: parseEther("0.123456789123456789"), validAfter: 0n, validBefore: 2_000_000_000_000n, nonce: word(`${name} ${what}`) };
    const domain = { name: "OpenLedger", version: "1", chainId: 31337, verifyingContract: contract.address };
    const signature = await holder.signTypedData({ domain, types, primaryType: "TransferWithAuthorization", message });
    const [r, s, v] = [signature.slice(0, 66), `0x${signature.slice(66, 130)}`, Number(`0x${signature.slice(130)}`)];
    const gas = await send(contract, "transferWithAuthorization", [...Object.values(message), v, r, s]);
    report(`EIP-3009 to ${what} payee, ${name}`, gas, what === "old" ? 71_500n : 90_000n);
  }
}

// settle: 1,000 payers in one batch, against one payer a batch
const later = (await reads.getBlock()).timestamp + 1_000_000n;
const fee = parseEther("0.123456789");
const payers = Array.from({ length: 1010 }, () => privateKeyToAccount(generatePrivateKey()));
await time.setAutomine(false);
const hashes = [];
for (const payer of payers) {
  await time.setBalance({ address: payer.address, value: parseEther("1") });
}
let nonce = await reads.getTransactionCount({ address: admin.address });
for (const payer of payers) {
  hashes.push(await wallet.writeContract({ ...token, functionName: "transfer", args: [payer.address, 10n * fee], nonce: nonce++, gas: 100_000n }));
}
for (const payer of payers) {
  const from = { account: payer, gas: 200_000n };
  await wallet.writeContract({ ...token, functionName: "approve", args: [escrow.address, 10n * fee], nonce: 0, ...from });
  await wallet.writeContract({ ...escrow, functionName: "deposit", args: [10n * fee], nonce: 1, ...from });
  hashes.push(await wallet.writeContract({ ...escrow, functionName: "authorize", args: [node.address, 5n * fee, Number(later)], nonce: 2, ...from }));
}
for (let pending = 1; pending > 0;) {
  await time.mine({ blocks: 1 });
  pending = Number((await time.getTxpoolStatus()).pending);
}
await time.setAutomine(true);
for (const hash of hashes) await mined(hash);
for (let i = 0; i < 11; ++i) await log(`s${i}`);
await pass(11);
const settle = (n, who) => send(escrow, "settle", [word(`root s${n}`), who.map((payer) => ({ payer: payer.address, amount: fee }))], node);
await settle(0, [payers[1000]]);
const singles = [];
for (let i = 1; i < 10; ++i) singles.push(await settle(i, [payers[1000 + i]]));
const single = singles.reduce((a, b) => a + b) / 9n;
console.log(`settle of 1 inference, next                      ${String(single).padStart(9)}`);
const batch = await settle(10, payers.slice(0, 1000));
report("settle of 1,000 inferences by 1,000 payers", batch, (single * 1000n) / 5n);
console.log(`ratio to 1,000 single settles                    ${(Number(batch) / Number(single) / 1000).toFixed(4)}`);
if ((await read(distributor, "funded")) !== parseEther("1000") + 1010n * fee) throw new Error("the sums are wrong");
process.exit(failed ? 1 : 0);
