// Package scheduler holds what package workload says of node selectors against the library
// that the scheduler of Kubernetes itself uses. It is a module of its own, so that
// Kubernetes does not weigh on ours.
package scheduler
