// Package explorer takes a few actors through every order of their commands to Redis: it goes from state to state, and a state is
// all that is in Redis and what each actor knows. Actors run the real code, on a Redis in memory with its real scripts.
//
// An actor in the middle of an operation is not kept as a goroutine, but as the answers that it has got so far: to take it one
// command further, the operation is begun anew, hears these answers again, and its next command is done. So any state can be
// gone back to, and an actor that dies there is just not taken further. An answer can be lost, as when a connection breaks: the
// operation then goes on as its code does, and the command was done before, or is done later. Or it is slow: time passes until it is heard.
//
// Time stands still but for steps that let it pass. States have times as they are seen from their present.
//
// It is for tests, in a bubble of testing/synctest.
package explorer
