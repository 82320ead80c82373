# The deployment in one container: pages on port 3000, the home in /home/crm (a volume).
FROM python:3.11-slim
RUN useradd --create-home crm && mkdir -p /opt/crm-merge && chown crm /opt/crm-merge
WORKDIR /opt/crm-merge
COPY --chown=crm . .
USER crm
RUN python -m venv .venv \
 && .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt \
 && .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable . \
 && .venv/bin/python -c "from crm_merge.engine import manifest; manifest.load('duckdb')"
ENV CRM_MERGE_HOME=/home/crm PATH=/opt/crm-merge/.venv/bin:$PATH
VOLUME /home/crm
EXPOSE 3000
CMD ["crm-merge", "dagster", "--host", "0.0.0.0", "--port", "3000"]
