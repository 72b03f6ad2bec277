// Package top shows how an organization's limits stand, as `watermaster top` does: live on
// a terminal, or as plain tables and JSON.
//
//	stream ── watcher ──> model ──> State ── Render ──> lines
//
// What is seen is a pure function: [Render] makes lines of a [State], for a width and a
// height, and knows neither clock nor terminal. The model only turns messages of the
// server, keys and time into the next State; Bubble Tea draws, and gives the terminal back
// however it ends. [Print] uses the same columns for plain text.
//
// Names are of the callers' choosing. Whatever could move the cursor or hide is replaced
// before it is shown (text.go).
package top
