// Command go-control-plane is the peer of the fan-out benchmark: go-control-plane's snapshot cache served over gRPC, set
// up as its documentation does, with one snapshot for a group of nodes.
//
// It is told what to do by lines of JSON on standard input and answers each with one on standard output, as
// bench/fanout_server.py is and does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"golang.org/x/sys/unix"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const maxRequestBytes = 64 << 20

// byCluster serves one snapshot to all nodes of a node cluster.
type byCluster struct{}

func (byCluster) ID(node *core.Node) string { return node.GetCluster() }

type command struct {
	Do       string  `json:"do"`
	Weight   uint32  `json:"weight"`
	TypeURL  string  `json:"type_url"`
	Name     string  `json:"name"`
	Body     []byte  `json:"body"`
	Acks     int64   `json:"acks"`
	Patience float64 `json:"patience_seconds"`
}

// acknowledgements notes when each arrived.
type acknowledgements struct {
	awaited atomic.Pointer[string]
	count   atomic.Int64
	at      []int64
}

func (a *acknowledgements) delta(_ int64, request *discovery.DeltaDiscoveryRequest) error {
	a.received(request)
	return nil
}

func (a *acknowledgements) sotw(_ int64, request *discovery.DiscoveryRequest) error {
	a.received(request)
	return nil
}

type answer interface {
	GetResponseNonce() string
	GetErrorDetail() *rpcstatus.Status
	GetTypeUrl() string
}

func (a *acknowledgements) received(said answer) {
	if said.GetResponseNonce() == "" || said.GetErrorDetail() != nil || said.GetTypeUrl() != *a.awaited.Load() {
		return
	}
	if n := a.count.Add(1); int(n) <= len(a.at) {
		atomic.StoreInt64(&a.at[n-1], monotonic())
	}
}

func (a *acknowledgements) await(typeURL string) {
	a.awaited.Store(&typeURL)
	a.count.Store(0)
	clear(a.at)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	given, err := read(os.Args[1])
	if err != nil {
		return err
	}
	snapshots := cache.NewSnapshotCache(true, byCluster{}, nil)
	acks := &acknowledgements{at: make([]int64, 1<<16)}
	acks.await(resource.RouteType)
	discoveryServer := server.NewServer(
		context.Background(), snapshots,
		server.CallbackFuncs{StreamDeltaRequestFunc: acks.delta, StreamRequestFunc: acks.sotw},
	)
	grpcServer := grpc.NewServer(
		grpc.MaxConcurrentStreams(1_000_000),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, discoveryServer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := publish(snapshots, given); err != nil {
		return err
	}
	go func() {
		if err := grpcServer.Serve(listener); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		answer, err := obey(lines.Bytes(), snapshots, given, acks)
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func obey(line []byte, snapshots cache.SnapshotCache, given *resources, acks *acknowledgements) (map[string]any, error) {
	var told command
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	switch told.Do {
	case "push":
		given.setWeight(told.Weight)
		return push(snapshots, given, acks, resource.RouteType, told)
	case "replace":
		if err := given.replace(told.TypeURL, told.Name, told.Body); err != nil {
			return nil, err
		}
		return push(snapshots, given, acks, told.TypeURL, told)
	case "usage":
		return usage(false)
	case "collect":
		return usage(true)
	}
	return nil, fmt.Errorf("unknown command %q", told.Do)
}

// push publishes and waits for the acknowledgements of the type.
func push(
	snapshots cache.SnapshotCache, given *resources, acks *acknowledgements, typeURL string, told command,
) (map[string]any, error) {
	acks.await(typeURL)
	committed, err := publish(snapshots, given)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Duration(told.Patience * float64(time.Second)))
	// The times are those of the callbacks; that all are there is looked at now and then.
	for acks.count.Load() < told.Acks {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d acknowledged", acks.count.Load(), told.Acks)
		}
		time.Sleep(5 * time.Millisecond)
	}
	times := slices.Clone(acks.at[:told.Acks])
	slices.Sort(times)
	return map[string]any{"committed_ns": committed, "acks_ns": times}, nil
}

var generation int

// publish returns when it began, the messages being in hand.
func publish(snapshots cache.SnapshotCache, given *resources) (int64, error) {
	generation++
	began := monotonic()
	snapshot, err := cache.NewSnapshot(strconv.Itoa(generation), given.byType)
	if err != nil {
		return 0, err
	}
	return began, snapshots.SetSnapshot(context.Background(), given.group, snapshot)
}

func usage(afterCollecting bool) (map[string]any, error) {
	if afterCollecting {
		runtime.GC()
		debug.FreeOSMemory()
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return nil, err
	}
	return map[string]any{"cpu_us": (used.Utime.Nano() + used.Stime.Nano()) / 1000, "pid": os.Getpid()}, nil
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, the clock of all processes of the benchmark.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // Linux always has it.
	}
	return now.Nano()
}
