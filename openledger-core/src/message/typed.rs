//! The Solidity structs of the messages: their names and fields are the EIP-712 types, and the
//! contracts hold the same text.

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
