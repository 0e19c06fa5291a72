//! Lists longer than one page.

use windhover_client::{
    ClientError,
    admin::v1::{
        ListInstancesResponse, ListQueuesResponse, ListShardsResponse, ListTenantsResponse, ListTokensResponse,
        ListWorkerGroupsResponse,
    },
    v1::*,
};

const LARGEST_PAGE: usize = 1_000;

/// One page of a list, which can take the next one in.
pub(super) trait Page {
    fn token(&mut self) -> &mut String;
    fn len(&self) -> usize;
    fn append(&mut self, next: Self);
}

macro_rules! pages {
    ($($response:ident.$items:ident),+ $(,)?) => {$(
        impl Page for $response {
            fn token(&mut self) -> &mut String {
                &mut self.next_page_token
            }

            fn len(&self) -> usize {
                self.$items.len()
            }

            fn append(&mut self, next: Self) {
                self.$items.extend(next.$items);
                self.next_page_token = next.next_page_token;
            }
        }
    )+};
}

pages! {
    ListFlowsResponse.flows,
    ListFlowRevisionsResponse.flows,
    ListExecutionsResponse.executions,
    ListTaskRunsResponse.task_runs,
    ListLogsResponse.lines,
    ListSecretsResponse.secrets,
    ListTenantsResponse.tenants,
    ListTokensResponse.tokens,
    ListTriggersResponse.triggers,
    ListEntriesResponse.entries,
    ListInstancesResponse.instances,
    ListShardsResponse.shards,
    ListQueuesResponse.queues,
    ListWorkerGroupsResponse.worker_groups,
    ListNamespacesResponse.namespaces,
    ListPluginsResponse.plugins,
}

/// As many pages as it takes for `limit` items (0: all), as one answer. `fetch` gets size and token of a page.
pub(super) async fn collect<R: Page>(
    limit: usize,
    mut fetch: impl AsyncFnMut(u32, String) -> Result<R, ClientError>,
) -> Result<R, ClientError> {
    let missing = |have: usize| match limit {
        0 => LARGEST_PAGE,
        limit => limit.saturating_sub(have).min(LARGEST_PAGE),
    };
    let size = |have: usize| u32::try_from(missing(have)).unwrap_or(u32::MAX);
    let mut all = fetch(size(0), String::new()).await?;
    while !all.token().is_empty() && missing(all.len()) > 0 {
        let token = std::mem::take(all.token());
        let next = fetch(size(all.len()), token).await?;
        all.append(next);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with 2,500 lines.
    async fn lines(limit: usize) -> (ListLogsResponse, Vec<u32>) {
        let mut sizes = Vec::new();
        let response = collect(limit, async |size, token| {
            sizes.push(size);
            let from = token.parse::<usize>().unwrap_or(0);
            let to = (from + size as usize).min(2_500);
            let next_page_token = if to < 2_500 { to.to_string() } else { String::new() };
            Ok(ListLogsResponse { lines: vec![LogLine::default(); to - from], next_page_token })
        })
        .await;
        (response.unwrap(), sizes)
    }

    #[tokio::test]
    async fn as_many_pages_are_read_as_are_needed() {
        let (all, sizes) = lines(0).await;
        assert_eq!((all.lines.len(), all.next_page_token.as_str(), sizes.len()), (2_500, "", 3));
        let (some, sizes) = lines(1_200).await;
        assert_eq!((some.lines.len(), some.next_page_token.as_str()), (1_200, "1200"));
        assert_eq!(sizes, [1_000, 200]);
    }
}
