// Trims the published artifacts of the OP Stack's contracts to what we call and deploy.
//   npm install && node op.mjs OUT
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = process.env.NODE_MODULES ?? join(import.meta.dirname, "node_modules");
const published = join(root, "@eth-optimism/contracts-bedrock");
const { version } = JSON.parse(readFileSync(join(published, "package.json"), "utf8"));
if (version !== "0.17.3") throw new Error(`these are the artifacts of ${version}, not of 0.17.3`);

// What of each contract's ABI is used, and which code: that which creates it, for L1, where contracts
// are deployed, or that which runs, for L2, where they are there from the start.
const messenger = ["SentMessage", "RelayedMessage", "FailedRelayedMessage", "successfulMessages", "failedMessages"];
const contracts = {
  Proxy: { code: ["bytecode", "deployedBytecode"], abi: ["constructor", "upgradeTo", "upgradeToAndCall"] },
  SuperchainConfig: { code: ["bytecode"], abi: ["initialize", "pause", "unpause"] },
  SystemConfig: { code: ["bytecode"], abi: ["initialize"] },
  L2OutputOracle: {
    code: ["bytecode"],
    abi: [
      "initialize", "proposeL2Output", "deleteL2Outputs", "getL2Output", "getL2OutputIndexAfter", "latestBlockNumber",
      "nextBlockNumber", "submissionInterval", "computeL2Timestamp", "finalizationPeriodSeconds", "OutputProposed",
    ],
  },
  OptimismPortal: {
    code: ["bytecode"],
    abi: [
      "initialize", "proveWithdrawalTransaction", "finalizeWithdrawalTransaction", "provenWithdrawals",
      "finalizedWithdrawals", "l2Oracle", "TransactionDeposited", "WithdrawalProven", "WithdrawalFinalized", "BadTarget",
      "CallPaused", "GasEstimation", "NonReentrant", "OutOfGas",
    ],
  },
  L1CrossDomainMessenger: { code: ["bytecode"], abi: ["initialize", "portal", "SentMessageExtension1", ...messenger] },
  L1StandardBridge: {
    code: ["bytecode"],
    abi: ["initialize", "depositERC20To", "deposits", "messenger", "ERC20DepositInitiated", "ERC20WithdrawalFinalized"],
  },
  L1Block: { code: ["deployedBytecode"], abi: ["gasPayingToken"] },
  L2CrossDomainMessenger: { code: ["deployedBytecode"], abi: ["initialize", "relayMessage", ...messenger] },
  L2StandardBridge: {
    code: ["deployedBytecode"],
    abi: ["initialize", "bridgeERC20To", "withdrawTo", "DepositFinalized", "WithdrawalInitiated"],
  },
  L2ToL1MessagePasser: { code: ["deployedBytecode"], abi: ["sentMessages", "MessagePassed"] },
};

const out = process.argv[2];
mkdirSync(out, { recursive: true });
for (const [name, { code, abi: used }] of Object.entries(contracts)) {
  const path = join(published, "forge-artifacts", `${name}.sol`, `${name}.json`);
  const artifact = JSON.parse(readFileSync(path, "utf8"));
  const abi = artifact.abi.filter((item) => used.includes(item.name ?? item.type));
  for (const wanted of used) {
    if (!abi.some((item) => (item.name ?? item.type) === wanted)) throw new Error(`${name} has no ${wanted}`);
  }
  const trimmed = { abi };
  for (const kind of code) {
    const { object, linkReferences, immutableReferences } = artifact[kind];
    if (Object.keys({ ...linkReferences, ...immutableReferences }).length > 0) throw new Error(`${name} has holes`);
    trimmed[kind] = { object };
  }
  writeFileSync(join(out, `${name}.json`), JSON.stringify(trimmed) + "\n");
}
