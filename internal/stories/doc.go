// Package stories plays wabek as its users and its enemies meet it: real processes on loopback, killed and started.
//
// In: the programs of this module, built once per run, and nats-server. Out: tests that read like stories.
// On failure: the log of every process of the story is shown, and no process is left behind.
package stories
