package watermaster

// version is told to the service as part of the user agent.
const version = "0.1.0"
