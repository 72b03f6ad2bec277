// What needs no provider, in one process: a start of Node with all that is imported costs more than most of the files.
import "./vectors.test.js";
import "./readers.test.js";
import "./passage.test.js";
import "./exchange.test.js";
import "./limiter.test.js";
import "./lifetime.test.js";
