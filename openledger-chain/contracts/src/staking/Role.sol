// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What an operator stakes to do: bring data, judge and check, or run a node or an agent.
enum Role {
    Contributor,
    Validator,
    Agent
}
