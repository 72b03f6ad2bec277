// What runs real processes and the official SDKs.
import "./sdk.test.js";
import "./storm.test.js";
