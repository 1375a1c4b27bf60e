// What a client of etcd is asked to do by a comparison, with etcd's own Go client.
//
// Owns the tasks of benchmarks/peers/task.py for etcd: one process, one task as JSON in its argument, "ready"
// on its output, the moment to begin on its input, one JSON object as the answer. All moments are seconds of
// CLOCK_MONOTONIC, which all processes of a machine share. Knows nothing of processes or of other peers.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

// Task is what one process does; see benchmarks/peers/task.py.
type Task struct {
	Do           string            `json:"do"`
	Endpoints    map[string]string `json:"endpoints"`
	Callers      int               `json:"callers"`
	Connections  int               `json:"connections"`
	Reads        float64           `json:"reads"`
	ValueBytes   int               `json:"value_bytes"`
	Seconds      float64           `json:"seconds"`
	EverySeconds float64           `json:"every_seconds"`
	Keys         int               `json:"keys"`
	Count        int               `json:"count"`
	Seed         int64             `json:"seed"`
	Node         int               `json:"node"`
	NewEndpoint  string            `json:"new_endpoint"`
}

var input = bufio.NewReader(os.Stdin)

func now() float64 {
	var moment syscall.Timespec
	const clockMonotonic = 1
	_, _, failed := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&moment)), 0)
	if failed != 0 {
		panic(failed)
	}
	return float64(moment.Sec) + float64(moment.Nsec)/1e9
}

func check(failed error) {
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		os.Exit(1)
	}
}

func answer(value interface{}) { check(json.NewEncoder(os.Stdout).Encode(value)) }

// theWord says that we are ready, and waits for the moment that the other side names.
func theWord() float64 {
	fmt.Println("ready")
	line, failed := input.ReadString('\n')
	check(failed)
	moment, failed := strconv.ParseFloat(strings.TrimSpace(line), 64)
	check(failed)
	return moment
}

func connect(endpoints ...string) *clientv3.Client {
	client, failed := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
	check(failed)
	return client
}

func (task Task) all() []string {
	found := []string{}
	for _, endpoint := range task.Endpoints {
		found = append(found, endpoint)
	}
	sort.Strings(found)
	return found
}

// leaderOf asks each member for its state until one names a leader; also where that one listens.
func (task Task) leaderOf() (int, string) {
	for {
		for node, endpoint := range task.Endpoints {
			client, failed := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
			check(failed)
			within, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			status, failed := client.Status(within, endpoint)
			cancel()
			client.Close()
			if failed == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				id, failed := strconv.Atoi(node)
				check(failed)
				return id, endpoint
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (task Task) value() string { return strings.Repeat("x", task.ValueBytes) }

// load lets callers that each wait for their answer before they ask again write and read, at the leader.
func (task Task) load() {
	_, leader := task.leaderOf()
	clients := make([]*clientv3.Client, task.Connections)
	for i := range clients {
		clients[i] = connect(leader)
		_, failed := clients[i].Get(context.Background(), "k")
		check(failed)
	}
	begin := theWord()
	end := begin + task.Seconds
	latencies := make([][]float64, task.Callers)
	failures := make([]int, task.Callers)
	value := task.value()
	var callers sync.WaitGroup
	for n := 0; n < task.Callers; n++ {
		callers.Add(1)
		go func(n int) {
			defer callers.Done()
			client := clients[n%len(clients)]
			draw := rand.New(rand.NewSource(task.Seed + int64(n)))
			for {
				key := fmt.Sprintf("k%08d", draw.Intn(task.Keys))
				read := draw.Float64() < task.Reads
				asked := now()
				var failed error
				if read {
					_, failed = client.Get(context.Background(), key)
				} else {
					_, failed = client.Put(context.Background(), key, value)
				}
				ended := now()
				if begin <= ended && ended < end {
					if failed == nil {
						latencies[n] = append(latencies[n], ended-asked)
					} else {
						failures[n]++
					}
				}
				if ended >= end {
					return
				}
			}
		}(n)
	}
	callers.Wait()
	all, failed := []float64{}, 0
	for n := range latencies {
		all = append(all, latencies[n]...)
		failed += failures[n]
	}
	answer(map[string]interface{}{"latencies": all, "failed": failed})
}

// probe begins a write every so often, at each member in turn, whatever became of the ones before; tells when
// the first that began after the named moment was acknowledged. A member is connected to once it listens, so
// that no client's patience with a closed port is measured.
func (task Task) probe() {
	type success struct{ asked, ended float64 }
	successes := make(chan success, 100000)
	var lock sync.Mutex
	reached := []*clientv3.Client{}
	for _, endpoint := range task.all() {
		go func(endpoint string) {
			for {
				connection, failed := net.Dial("tcp", endpoint)
				if failed == nil {
					connection.Close()
					break
				}
				time.Sleep(2 * time.Millisecond)
			}
			client := connect(endpoint)
			lock.Lock()
			reached = append(reached, client)
			lock.Unlock()
		}(endpoint)
	}
	named := make(chan float64)
	go func() { named <- theWord() }()
	ticker := time.NewTicker(time.Duration(task.EverySeconds * 1e9))
	moment, turn := -1.0, 0
	for {
		select {
		case <-ticker.C:
			turn++
			lock.Lock()
			clients := reached
			lock.Unlock()
			if len(clients) == 0 {
				continue
			}
			go func(client *clientv3.Client) {
				asked := now()
				within, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if _, failed := client.Put(within, "probe", "x"); failed == nil {
					successes <- success{asked, now()}
				}
			}(clients[turn%len(clients)])
		case moment = <-named:
		case seen := <-successes:
			if moment >= 0 && seen.asked >= moment {
				answer(map[string]float64{"seconds": seen.ended - moment})
				return
			}
		}
	}
}

// watch counts how long it takes from a write until all watchers have seen it, one write after the other.
func (task Task) watch() {
	client := connect(task.all()...)
	seen := make(chan struct{}, task.Callers)
	for n := 0; n < task.Callers; n++ {
		events := client.Watch(context.Background(), "watched", clientv3.WithCreatedNotify())
		<-events
		go func() {
			for told := range events {
				for range told.Events {
					seen <- struct{}{}
				}
			}
		}()
	}
	begin := theWord()
	value, latencies := task.value(), []float64{}
	for now() < begin+task.Seconds {
		asked := now()
		_, failed := client.Put(context.Background(), "watched", value)
		check(failed)
		for n := 0; n < task.Callers; n++ {
			<-seen
		}
		if asked >= begin {
			latencies = append(latencies, now()-asked)
		}
	}
	answer(map[string]interface{}{"latencies": latencies, "failed": 0})
}

// handOver lets two candidates give leadership to each other: from the resignation until the other leads.
func (task Task) handOver() {
	elections := [2]*concurrency.Election{}
	for n := range elections {
		session, failed := concurrency.NewSession(connect(task.all()...))
		check(failed)
		elections[n] = concurrency.NewElection(session, "election")
	}
	here, counting, latencies := context.Background(), connect(task.all()...), []float64{}
	check(elections[0].Campaign(here, "0"))
	theWord()
	for round := 0; round < task.Count; round++ {
		next, won := elections[(round+1)%2], make(chan float64)
		go func() {
			check(next.Campaign(here, "next"))
			won <- now()
		}()
		// The other has to be in the queue before it can be handed anything.
		for {
			found, failed := counting.Get(here, "election/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			check(failed)
			if found.Count == 2 {
				break
			}
		}
		time.Sleep(150 * time.Millisecond) // Until it watches, too: a new watch waits for a round of 100 ms.
		asked := now()
		check(elections[round%2].Resign(here))
		latencies = append(latencies, <-won-asked)
	}
	answer(map[string]interface{}{"latencies": latencies, "failed": 0})
}

// fill writes so many keys, many at once, and then the last one.
func (task Task) fill() {
	_, leader := task.leaderOf()
	client, value := connect(leader), task.value()
	theWord()
	began := now()
	numbers := make(chan int)
	var callers sync.WaitGroup
	for n := 0; n < task.Callers; n++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for number := range numbers {
				_, failed := client.Put(context.Background(), fmt.Sprintf("k%08d", number%task.Keys), value)
				check(failed)
			}
		}()
	}
	for number := 0; number < task.Count; number++ {
		numbers <- number
	}
	close(numbers)
	callers.Wait()
	_, failed := client.Put(context.Background(), "last", strconv.Itoa(task.Count))
	check(failed)
	answer(map[string]float64{"seconds": now() - began})
}

// holds waits until one member, asked for what it has itself, has the last key that fill wrote.
func (task Task) holds() {
	endpoint := task.Endpoints[strconv.Itoa(task.Node)]
	moment := theWord()
	for {
		connection, failed := net.Dial("tcp", endpoint)
		if failed == nil {
			connection.Close()
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	client := connect(endpoint)
	for {
		within, cancel := context.WithTimeout(context.Background(), time.Second)
		found, failed := client.Get(within, "last", clientv3.WithSerializable())
		cancel()
		if failed == nil && len(found.Kvs) == 1 && string(found.Kvs[0].Value) == strconv.Itoa(task.Count) {
			answer(map[string]float64{"seconds": now() - moment})
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func main() {
	var task Task
	check(json.Unmarshal([]byte(os.Args[1]), &task))
	switch task.Do {
	case "load":
		task.load()
	case "probe":
		task.probe()
	case "watch":
		task.watch()
	case "hand-over":
		task.handOver()
	case "fill":
		task.fill()
	case "holds":
		task.holds()
	case "leader":
		theWord()
		leader, _ := task.leaderOf()
		answer(map[string]int{"leader": leader})
	case "add":
		client := connect(task.all()...)
		moment := theWord()
		_, failed := client.MemberAdd(context.Background(), []string{task.NewEndpoint})
		check(failed)
		answer(map[string]float64{"seconds": now() - moment})
	default:
		check(fmt.Errorf("no task is called %q", task.Do))
	}
}
