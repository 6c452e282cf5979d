//! The Solidity structs of the messages: their names and fields are the EIP-712 types, and the
//! contracts hold the same text. What no contract reads yet, feedback and updates of training, is signed the same
//! way, so that one may.

alloy_sol_types::sol! {
    struct Contribution {
        bytes32 datanet;
        bytes32 root;
        uint64 rows;
        uint64 size;
        bytes32 terms;
        address contributor;
        uint256 nonce;
        uint64 deadline;
    }

    struct Verdict {
        bytes32 contribution;
        bytes32 policy;
        bytes32 findings;
        uint8 decision;
        uint32 score;
        address validator;
        uint256 nonce;
        uint64 deadline;
    }

    struct Grant {
        bytes32 datanet;
        uint64 version;
        uint8 scope;
        bytes32 purpose;
        address grantee;
        uint64 notBefore;
        uint64 notAfter;
        address owner;
        uint256 nonce;
        uint64 deadline;
    }

    struct Withdrawal {
        bytes32 datanet;
        bytes32 root;
        uint64 rows;
        address contributor;
        uint256 nonce;
        uint64 deadline;
    }

    struct Feedback {
        bytes32 adapter;
        bytes32 prompt;
        bytes32 output;
        int32 value;
        address validator;
        uint256 nonce;
        uint64 deadline;
    }

    struct LocalUpdate {
        bytes32 run;
        uint64 round;
        bytes32 start;
        bytes32 update;
        uint64 steps;
        uint64 labels;
        address worker;
        uint256 nonce;
        uint64 deadline;
    }

    struct DatanetVersion {
        bytes32 datanet;
        uint64 version;
        bytes32 root;
    }

    struct RowShare {
        bytes32 row;
        bytes32 datanet;
        address contributor;
        uint64 weight;
    }

    struct Receipt {
        bytes32 model;
        bytes32 adapter;
        DatanetVersion[] datanets;
        string method;
        bytes32 prompt;
        bytes32 output;
        uint64 tokensIn;
        uint64 tokensOut;
        uint256 fee;
        RowShare[] shares;
        address payer;
        address node;
        uint256 nonce;
        uint64 deadline;
    }
}
