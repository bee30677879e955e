// Command load is many xDS clients in one process: ADS streams that subscribe as an Envoy does and acknowledge
// whatever they are sent at once.
//
// It is told what to do by lines of JSON on standard input and answers each with one on standard output. The protocol
// is read and written by hand (HTTP/2 frames, a few protobuf fields), so that the client is not what is measured; its
// own CPU time is part of its answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type command struct {
	Do          string  `json:"do"`
	Address     string  `json:"address"`
	NodeCluster string  `json:"node_cluster"`
	Sotw        bool    `json:"sotw"`
	Steps       []step  `json:"steps"`
	Streams     int     `json:"streams"`
	AtOnce      int     `json:"at_once"`
	Stalled     bool    `json:"stalled"`
	Acks        int64   `json:"acks"`
	Patience    float64 `json:"patience_seconds"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(os.Stdout)
	fleets := map[bool]*fleet{}
	for lines.Scan() {
		answer, err := obey(lines.Bytes(), fleets)
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// obey knows two fleets: the one that reads and the one that is stalled.
func obey(line []byte, fleets map[bool]*fleet) (map[string]any, error) {
	var told command
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	if told.Do == "connect" {
		if fleets[told.Stalled] == nil {
			fleets[told.Stalled] = newFleet(told)
		}
		return connect(fleets[told.Stalled], told)
	}
	at := fleets[told.Stalled]
	if at == nil {
		return nil, fmt.Errorf("%s: not connected", told.Do)
	}
	switch told.Do {
	case "arm":
		at.arm()
		return map[string]any{"cpu_us": cpuMicroseconds()}, at.failed()
	case "collect":
		err := at.await(func() bool { return at.acks.Load() >= told.Acks }, seconds(told.Patience))
		at.mutex.Lock()
		defer at.mutex.Unlock()
		return map[string]any{
			"acks": at.acks.Load(), "last_ack_ns": at.lastAck.Load(), "bytes": at.bytes.Load(),
			"versions": at.versions, "cpu_us": cpuMicroseconds(),
		}, err
	case "disconnect":
		at.disconnect()
		delete(fleets, told.Stalled)
		return map[string]any{}, nil
	case "break":
		// The connections only: what the streams hold is kept for the next "connect".
		at.disconnect()
		fleets[told.Stalled] = at.again()
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("unknown command %q", told.Do)
}

func connect(at *fleet, told command) (map[string]any, error) {
	began := monotonic()
	err := at.connect(told.Streams, max(told.AtOnce, 1), told.Stalled, seconds(told.Patience))
	return map[string]any{"began_ns": began, "ended_ns": monotonic(), "bytes": at.bytes.Load()}, err
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, the clock the servers use, too.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // Linux always has it.
	}
	return now.Nano()
}

func cpuMicroseconds() int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return (used.Utime.Nano() + used.Stime.Nano()) / 1000
}
